/*
 * title: two FIFOs of one name, the first without it: each keeps its ends, apart from the other's
 * flavours: host ns userns
 */
#include "fifo.h"

int main(int argc, char **argv)
{
	int reader, writer, other;
	char c;

	test_init(argc, argv);
	fifo_make("fifo", 0640);
	reader = fifo_open("fifo", O_RDONLY | O_NONBLOCK);
	writer = fifo_open("fifo", O_WRONLY);
	SYS(fcntl(reader, F_SETFL, 0));
	SYS(unlink("fifo"));
	fifo_make("fifo", 0604);
	other = fifo_open("fifo", O_RDWR | O_NONBLOCK);
	fd_put(other, "o", 1);
	test_daemon();
	test_waitsig();
	check_flags(reader, O_RDONLY, 0);
	check_flags(writer, O_WRONLY, 0);
	check_same(reader, writer);
	CHECK(fd_stat(reader).st_nlink == 0 && fd_stat(reader).st_mode == (S_IFIFO | 0640), "it has a name");
	check_name("fifo", other, 0604);
	check_waiting(reader, 0);
	check_waiting(other, 1);
	fd_put(writer, "x", 1);
	fd_get(reader, &c, 1);
	CHECK(c == 'x', "%c instead of x", c);
	fd_get(other, &c, 1);
	CHECK(c == 'o', "%c instead of o", c);
	SYS(close(writer));
	check_ended(reader);
	SYS(close(reader));
	pass();
}
