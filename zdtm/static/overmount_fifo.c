/*
 * title: an open FIFO that a mount covers is open afterwards, and covered
 * flavours: ns userns
 * flags: suid
 */
#include "overmount.h"

int main(int argc, char **argv)
{
	char text[8];
	int fd;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	SYS(mkfifo("dir/fifo", 0600));
	fd = overmount("dir/fifo", O_RDWR);
	CHECK(write(fd, "text", 4) == 4, "write");
	test_daemon();
	test_waitsig();
	CHECK(write(fd, "more", 4) == 4 && read(fd, text, 8) == 8 && !memcmp(text, "textmore", 8),
	      "contents");
	overmounted("dir/fifo", fd, S_IFIFO);
	pass();
}
