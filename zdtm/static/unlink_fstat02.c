/*
 * title: a file that is open by two names, both deleted, is one file
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	char name[PATH_MAX];
	int one, other;

	test_init(argc, argv);
	one = file_make("one", 3000, 1);
	SYS(link("one", "other"));
	other = SYS(open("other", O_RDWR | O_APPEND));
	SYS(unlink("one"));
	SYS(unlink("other"));
	test_daemon();
	test_waitsig();
	CHECK(file_same(one, other), "two files");
	file_links(one, 0);
	file_holds(one, 3000, 1);
	/* Each descriptor has the name that it was opened by. */
	snprintf(name, sizeof(name), "%s" DELETED, test_path("one"));
	file_named(one, name);
	snprintf(name, sizeof(name), "%s" DELETED, test_path("other"));
	file_named(other, name);
	CHECK(write(other, "x", 1) == 1 && file_stat(one).st_size == 3001, "it does not grow for both");
	file_absent("one");
	file_absent("other");
	pass();
}
