/*
 * title: an end that was closed stays closed: end of file behind what is left, EPIPE and SIGPIPE
 * flavours: host ns userns
 */
#include "fifo.h"

#include <signal.h>
#include <sys/wait.h>

static const char left[] = "what is left";
static volatile sig_atomic_t broken;

static void handler(int sig)
{
	(void)sig;
	broken++;
}

static void check_hung_up(int fd)
{
	char c;

	check_events(fd, POLLIN, POLLHUP);
	CHECK(SYS(read(fd, &c, 1)) == 0, "there is something to read from %d", fd);
}

static void check_broken(int fd)
{
	int before = broken;

	check_events(fd, POLLOUT, POLLOUT | POLLERR);
	CHECK(write(fd, "x", 1) == -1 && errno == EPIPE, "somebody could read what is written to %d", fd);
	CHECK(broken == before + 1, "%d SIGPIPEs", broken - before);
}

int main(int argc, char **argv)
{
	int with_rest[2], empty[2], unread[2], alone[2], again;
	struct sigaction act = {.sa_handler = handler};
	char got[64];
	uint32_t *ready;
	pid_t pid;

	test_init(argc, argv);
	ready = test_shared(sizeof(*ready));
	SYS(sigaction(SIGPIPE, &act, NULL));
	SYS(pipe(with_rest));
	SYS(pipe(empty));
	SYS(pipe(unread));
	SYS(pipe2(alone, O_NONBLOCK));
	CHECK(SYS(write(with_rest[1], left, sizeof(left))) == sizeof(left), "a short write");
	CHECK(SYS(write(unread[1], left, sizeof(left))) == sizeof(left), "a short write");
	SYS(close(with_rest[1]));
	SYS(close(empty[1]));
	SYS(close(unread[0]));
	pid = SYS(fork());
	if (!pid) {
		/* Of this one the child has the one end, the parent the other, until the child has ended. */
		SYS(close(alone[1]));
		test_post(ready);
		for (;;)
			pause();
	}
	SYS(close(alone[0]));
	test_await(ready, 1);
	test_daemon();
	test_waitsig();
	check_events(with_rest[0], POLLIN, POLLIN | POLLHUP);
	CHECK(SYS(read(with_rest[0], got, sizeof(got))) == sizeof(left), "another length than before");
	CHECK(!strcmp(got, left), "other bytes than those written");
	check_hung_up(with_rest[0]);
	check_hung_up(empty[0]);
	/* What is in it is there for whoever opens it again. */
	check_waiting(unread[1], sizeof(left));
	check_broken(unread[1]);
	again = fd_open_again(unread[1], O_RDONLY);
	fd_get(again, got, sizeof(left));
	CHECK(!strcmp(got, left), "other bytes than those written");
	CHECK(SYS(write(alone[1], "x", 1)) == 1, "a short write");
	check_events(alone[1], POLLOUT, POLLOUT);
	SYS(kill(pid, SIGKILL));
	CHECK(SYS(waitpid(pid, NULL, 0)) == pid, "another child ended");
	check_broken(alone[1]);
	pass();
}
