/*
 * title: a file that was made without a name can still be given one
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	char link[64];
	int fd, again, named;

	test_init(argc, argv);
	fd = SYS(open(".", O_TMPFILE | O_RDWR | O_APPEND, 0640));
	CHECK(write(fd, "contents", 8) == 8, "a short write");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = SYS(open(link, O_RDONLY));
	test_daemon();
	test_waitsig();
	CHECK(file_same(fd, again), "two files");
	SYS(linkat(AT_FDCWD, link, AT_FDCWD, "name", AT_SYMLINK_FOLLOW));
	named = SYS(open("name", O_RDONLY));
	CHECK(file_same(fd, named), "the name leads to another file");
	CHECK(!strcmp(test_read_file("name", NULL), "contents"), "it holds %s", test_read_file("name", NULL));
	pass();
}
