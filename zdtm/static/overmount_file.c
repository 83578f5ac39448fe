/*
 * title: an open file that a mount covers is open afterwards, and covered
 * flavours: ns userns
 * flags: suid
 */
#include <sys/mman.h>

#include "overmount.h"

int main(int argc, char **argv)
{
	unsigned char *map;
	int fd, other, gone;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	SYS(close(file_make("dir/file", 100, 1)));
	gone = file_make("dir/gone", 100, 3);
	SYS(unlink("dir/gone"));
	fd = overmount("dir/file", O_RDWR);
	map = SYS(mmap(NULL, 100, PROT_READ, MAP_SHARED, fd, 0));
	SYS(lseek(fd, 40, SEEK_SET));
	/* Another one of the name, by which nothing may be mixed up, is not covered. */
	other = file_make("dir/other", 100, 2);
	test_daemon();
	test_waitsig();
	file_holds(fd, 100, 1);
	CHECK(lseek(fd, 0, SEEK_CUR) == 40, "position %ld", lseek(fd, 0, SEEK_CUR));
	file_holds(other, 100, 2);
	file_holds(gone, 100, 3);
	file_links(gone, 0);
	CHECK(file_stat(gone).st_dev == file_stat(fd).st_dev, "it is where the mount is");
	SYS(close(gone));
	SYS(close(other));
	CHECK(test_differs(map, 100, 1) < 0, "the mapping differs");
	SYS(pwrite(fd, "written", 7, 0));
	CHECK(!memcmp(map, "written", 7), "the mapping is of another file");
	overmounted("dir/file", fd, S_IFREG);
	pass();
}
