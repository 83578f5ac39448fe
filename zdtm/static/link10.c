/*
 * title: a file that is open by two of its names is one file
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	int one, other;

	test_init(argc, argv);
	one = file_make("one", 100, 1);
	SYS(link("one", "other"));
	other = SYS(open("other", O_RDWR));
	test_daemon();
	test_waitsig();
	CHECK(file_same(one, other), "two files");
	file_links(one, 2);
	file_named(one, test_path("one"));
	file_named(other, test_path("other"));
	file_position(one, 100);
	file_position(other, 0);
	SYS(ftruncate(other, 50));
	file_holds(one, 50, 1);
	pass();
}
