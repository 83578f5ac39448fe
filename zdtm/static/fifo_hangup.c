/*
 * title: poll(2) tells of a hang-up where a writer has come and gone, not where none has been yet
 * flavours: host ns userns
 */
#include "fifo.h"

#include <signal.h>

int main(int argc, char **argv)
{
	int never, early, late, twice, again, writer, unread;
	char got[8];

	test_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	fifo_make("never", 0600);
	never = fifo_open("never", O_RDONLY | O_NONBLOCK);
	/* Of one FIFO, one end that has seen the writer, and one that has not. */
	fifo_make("once", 0600);
	early = fifo_open("once", O_RDONLY | O_NONBLOCK);
	writer = fifo_open("once", O_WRONLY);
	fd_put(writer, "rest", 4);
	SYS(close(writer));
	late = fifo_open("once", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	/* Opened while there is a writer. */
	fifo_make("twice", 0600);
	writer = fifo_open("twice", O_RDWR);
	twice = fifo_open("twice", O_RDONLY);
	SYS(close(writer));
	/* Nobody can read it who does not open it. */
	fifo_make("unread", 0600);
	again = fifo_open("unread", O_RDWR);
	unread = fifo_open("unread", O_WRONLY | O_NONBLOCK);
	fd_put(unread, "unread", 6);
	SYS(close(again));
	check_events(never, POLLIN, 0);
	check_events(early, POLLIN, POLLIN | POLLHUP);
	check_events(late, POLLIN, POLLIN);
	check_events(twice, POLLIN, POLLHUP);
	check_events(unread, POLLOUT, POLLOUT | POLLERR);
	test_daemon();
	test_waitsig();
	check_events(never, POLLIN, 0);
	check_events(early, POLLIN, POLLIN | POLLHUP);
	check_events(late, POLLIN, POLLIN);
	check_events(twice, POLLIN, POLLHUP);
	check_events(unread, POLLOUT, POLLOUT | POLLERR);
	check_flags(never, O_RDONLY | O_NONBLOCK, 0);
	check_flags(late, O_RDONLY | O_NONBLOCK, FD_CLOEXEC);
	check_flags(twice, O_RDONLY, 0);
	check_ended(never);
	check_ended(twice);
	fd_get(late, got, 4);
	CHECK(!memcmp(got, "rest", 4), "other bytes than those written");
	check_ended(early);
	/* Now one comes, and goes. */
	SYS(close(fifo_open("never", O_WRONLY)));
	check_events(never, POLLIN, POLLHUP);
	check_events(late, POLLIN, 0);
	CHECK(write(unread, "x", 1) == -1 && errno == EPIPE, "somebody could read it");
	again = fifo_open("unread", O_RDONLY);
	fd_get(again, got, 6);
	CHECK(!memcmp(got, "unread", 6), "other bytes than those written");
	fd_put(unread, "x", 1);
	fd_get(again, got, 1);
	pass();
}
