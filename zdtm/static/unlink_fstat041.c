/*
 * title: a file that was made without a name (O_TMPFILE)
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	unsigned char data[2000];
	struct stat st;
	int fd;

	test_init(argc, argv);
	test_fill(data, sizeof(data), 1);
	fd = SYS(open(".", O_TMPFILE | O_RDWR, 0640));
	CHECK(write(fd, data, sizeof(data)) == sizeof(data), "a short write");
	test_daemon();
	test_waitsig();
	st = file_stat(fd);
	CHECK(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640, "mode %o", st.st_mode);
	file_links(fd, 0);
	file_position(fd, sizeof(data));
	file_holds(fd, sizeof(data), 1);
	pass();
}
