/*
 * title: a file whose name is deleted, but that has another one, is refused unless links may be made
 * flavours: host ns userns
 * flags: crfail
 */
#include "files.h"

int main(int argc, char **argv)
{
	int fd;

	test_init(argc, argv);
	fd = file_make("file", 100, 1);
	SYS(link("file", "kept"));
	SYS(unlink("file"));
	test_daemon();
	test_waitsig();
	file_links(fd, 1);
	pass();
}
