/*
 * title: a FIFO without a name that one descriptor has open for both: nothing in it, nothing lost
 * flavours: host ns userns
 */
#include "fifo.h"

int main(int argc, char **argv)
{
	char c;
	int fd;

	test_init(argc, argv);
	fifo_make("fifo", 0600);
	fd = fifo_open("fifo", O_RDWR);
	SYS(unlink("fifo"));
	test_daemon();
	test_waitsig();
	check_flags(fd, O_RDWR, 0);
	CHECK(fd_stat(fd).st_nlink == 0, "it has a name");
	CHECK(access("fifo", F_OK) == -1 && errno == ENOENT, "its name is there");
	check_waiting(fd, 0);
	fd_put(fd, "x", 1);
	fd_get(fd, &c, 1);
	CHECK(c == 'x', "%c instead of x", c);
	SYS(close(fd));
	pass();
}
