/*
 * title: a pipe within one task keeps what is in it, the flags of each of its ends, and more ends of the same
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel adds it to every open(2); the C library has it as 0. */
enum { LARGEFILE = 0100000 };
enum { SEED = 5, WAITING = 10007, CONSUMED = 4099, MORE = 20000 };

static int open_again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return SYS(open(path, flags));
}

static void check_flags(int fd, int status, int descriptor)
{
	int now = SYS(fcntl(fd, F_GETFL)), cloexec = SYS(fcntl(fd, F_GETFD));

	CHECK((now & ~LARGEFILE) == status && cloexec == descriptor, "%d has flags %#o, close-on-exec %d", fd,
	      now, cloexec);
}

static ino_t pipe_of(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	CHECK(S_ISFIFO(st.st_mode) && st.st_uid == geteuid(), "%d has mode %#o, owner %u", fd, st.st_mode,
	      st.st_uid);
	return st.st_ino;
}

static void check_waiting(int fd, int want)
{
	int waiting;

	SYS(ioctl(fd, FIONREAD, &waiting));
	CHECK(waiting == want, "%d bytes wait in %d, not %d", waiting, fd, want);
}

int main(int argc, char **argv)
{
	static char data[WAITING + MORE], got[WAITING + MORE];
	int fds[2], empty[2], reader, writer, both, same, size;
	struct pollfd poll_empty;

	test_init(argc, argv);
	test_fill(data, sizeof(data), SEED);
	SYS(pipe2(fds, O_CLOEXEC));
	SYS(pipe2(empty, O_NONBLOCK));
	size = SYS(fcntl(empty[0], F_GETPIPE_SZ));
	same = SYS(dup2(fds[0], 77));
	reader = open_again(fds[0], O_RDONLY | O_NONBLOCK);
	writer = open_again(fds[0], O_WRONLY | O_APPEND);
	both = open_again(fds[1], O_RDWR | O_CLOEXEC);
	CHECK(SYS(write(fds[1], data, WAITING)) == WAITING, "a short write");
	CHECK(SYS(read(reader, got, CONSUMED)) == CONSUMED, "a short read");
	test_daemon();
	test_waitsig();
	check_flags(fds[0], O_RDONLY, FD_CLOEXEC);
	check_flags(fds[1], O_WRONLY, FD_CLOEXEC);
	check_flags(same, O_RDONLY, 0);
	check_flags(reader, O_RDONLY | O_NONBLOCK, 0);
	check_flags(writer, O_WRONLY | O_APPEND, 0);
	check_flags(both, O_RDWR, FD_CLOEXEC);
	check_flags(empty[0], O_RDONLY | O_NONBLOCK, 0);
	check_flags(empty[1], O_WRONLY | O_NONBLOCK, 0);
	CHECK(pipe_of(fds[0]) == pipe_of(fds[1]) && pipe_of(fds[0]) == pipe_of(same) &&
		      pipe_of(fds[0]) == pipe_of(reader) && pipe_of(fds[0]) == pipe_of(writer) &&
		      pipe_of(fds[0]) == pipe_of(both) && pipe_of(empty[0]) == pipe_of(empty[1]) &&
		      pipe_of(empty[0]) != pipe_of(fds[0]),
	      "the ends are of other pipes than before");
	check_waiting(fds[0], WAITING - CONSUMED);
	check_waiting(empty[0], 0);
	CHECK(SYS(fcntl(empty[0], F_GETPIPE_SZ)) == size, "the empty pipe has another size");
	/* Of two numbers for one description, one changes both; of another description, not. */
	SYS(fcntl(same, F_SETFL, O_NONBLOCK));
	check_flags(fds[0], O_RDONLY | O_NONBLOCK, FD_CLOEXEC);
	SYS(fcntl(reader, F_SETFL, 0));
	check_flags(fds[0], O_RDONLY | O_NONBLOCK, FD_CLOEXEC);
	/* It goes on where it was, whichever end is used. */
	CHECK(SYS(write(both, data + WAITING, MORE / 2)) == MORE / 2, "a short write");
	CHECK(SYS(write(writer, data + WAITING + MORE / 2, MORE / 2)) == MORE / 2, "a short write");
	CHECK(SYS(read(both, got, 7)) == 7, "a short read");
	CHECK(SYS(read(same, got + 7, sizeof(got) - 7)) == WAITING - CONSUMED + MORE - 7, "a short read");
	CHECK(!memcmp(got, data + CONSUMED, WAITING - CONSUMED + MORE), "other bytes than those written");
	CHECK(read(same, got, 1) == -1 && errno == EAGAIN, "there is more in it");
	/* It ends when the last of its writers does. */
	SYS(close(fds[1]));
	SYS(close(writer));
	CHECK(read(same, got, 1) == -1 && errno == EAGAIN, "it has ended, but has a writer");
	SYS(close(both));
	CHECK(SYS(read(reader, got, 1)) == 0, "there is one more writer");
	poll_empty = (struct pollfd){.fd = empty[0], .events = POLLIN};
	CHECK(SYS(poll(&poll_empty, 1, 0)) == 0, "the empty pipe has events %#x", poll_empty.revents);
	SYS(close(empty[1]));
	CHECK(SYS(read(empty[0], got, 1)) == 0, "the empty pipe has one more writer");
	pass();
}
