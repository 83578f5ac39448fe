/*
 * title: a deleted file that is larger than 2 GiB, and hardly anything but a hole
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	const off_t end = ((off_t)5 << 30) + 12345;
	int fd;

	test_init(argc, argv);
	fd = SYS(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
	CHECK(pwrite(fd, "at the end", 10, end) == 10, "a short write");
	SYS(lseek(fd, end + 10, SEEK_SET));
	SYS(unlink("file"));
	test_daemon();
	test_waitsig();
	file_position(fd, end + 10);
	CHECK(file_stat(fd).st_size == end + 10, "%ld bytes", (long)file_stat(fd).st_size);
	CHECK(file_stat(fd).st_blocks < 2048, "%ld blocks", (long)file_stat(fd).st_blocks);
	{
		char text[11] = "";

		CHECK(pread(fd, text, 10, end) == 10 && !strcmp(text, "at the end"), "it ends in %s", text);
	}
	pass();
}
