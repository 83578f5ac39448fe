/*
 * title: ranges of one file, read and written, of processes and of descriptions, up to the largest offset
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include "child.h"

#define LAST INT64_MAX

static const char own[] = "POSIX ADVISORY WRITE 0 0\n"
			  "POSIX ADVISORY READ 1 9\n"
			  "POSIX ADVISORY WRITE 20 29\n"
			  "POSIX ADVISORY WRITE 31 39\n"
			  "POSIX ADVISORY WRITE 9223372036854775806 EOF\n"
			  "OFDLCK ADVISORY READ 5 14\n"
			  "OFDLCK ADVISORY WRITE 4611686018427387904 4611686018427387904\n"
			  "OFDLCK ADVISORY READ 9223372036854775804 9223372036854775805\n";

/* Procfs lists a file's locks by owner, and those in an order that depends on who came first. */
static void expect(int fd, const char *want)
{
	char all[4096], *listed = strcpy(all, locks_listed(fd)), *line, *rest;
	size_t length = 0;

	for (line = strtok_r(listed, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *found = strstr(want, line);

		CHECK(found && found[strlen(line)] == '\n', "fd %d has '%s'", fd, line);
		length += strlen(line) + 1;
	}
	CHECK(length == strlen(want), "fd %d has '%s' instead of '%s'", fd, locks_listed(fd), want);
}

int main(int argc, char **argv)
{
	struct flock lock;
	pid_t child;
	int fd, other;

	test_init(argc, argv);
	fd = locks_file("file");
	SYS(locks_set(fd, F_SETLK, F_WRLCK, 0, 1));
	SYS(locks_set(fd, F_SETLK, F_RDLCK, 1, 9));
	SYS(locks_set(fd, F_SETLK, F_WRLCK, 20, 20));
	SYS(locks_set(fd, F_SETLK, F_UNLCK, 30, 1)); /* two of one */
	SYS(locks_set(fd, F_SETLK, F_WRLCK, LAST - 1, 2));
	SYS(locks_set(fd, F_OFD_SETLK, F_RDLCK, 5, 10));
	SYS(locks_set(fd, F_OFD_SETLK, F_WRLCK, 1L << 62, 1));
	SYS(locks_set(fd, F_OFD_SETLK, F_RDLCK, LAST - 3, 2));
	expect(fd, own);
	child = child_fork();
	if (!child) {
		/* the description is the parent's, the POSIX locks of the same table are not */
		SYS(locks_set(fd, F_SETLK, F_RDLCK, 3, 1));
		SYS(locks_set(fd, F_SETLK, F_WRLCK, 30, 1));
		SYS(locks_set(fd, F_SETLK, F_WRLCK, 50, 0x3fffffff00000000L));
		child_wait();
		expect(fd, "POSIX ADVISORY READ 3 3\nPOSIX ADVISORY WRITE 30 30\n"
			   "POSIX ADVISORY WRITE 50 4611686014132420657\n"
			   "OFDLCK ADVISORY READ 5 14\n"
			   "OFDLCK ADVISORY WRITE 4611686018427387904 4611686018427387904\n"
			   "OFDLCK ADVISORY READ 9223372036854775804 9223372036854775805\n");
		lock = locks_ask(fd, F_GETLK, F_WRLCK, 29, 11);
		CHECK(lock.l_type == F_WRLCK && lock.l_pid == getppid(), "a lock of pid %d", lock.l_pid);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	expect(fd, own);
	lock = locks_ask(fd, F_GETLK, F_WRLCK, 20, 20);
	CHECK(lock.l_type == F_WRLCK && lock.l_pid == child && lock.l_start == 30 && lock.l_len == 1,
	      "type %d of pid %d, from %ld, %ld bytes", lock.l_type, lock.l_pid, lock.l_start, lock.l_len);
	other = SYS(open("file", O_RDWR));
	lock = locks_ask(other, F_OFD_GETLK, F_RDLCK, LAST - 2, 0);
	CHECK(lock.l_type == F_WRLCK && lock.l_pid == getpid() && lock.l_start == LAST - 1 && !lock.l_len,
	      "type %d of pid %d, from %ld, %ld bytes", lock.l_type, lock.l_pid, lock.l_start, lock.l_len);
	CHECK(locks_set(other, F_OFD_SETLK, F_RDLCK, 1L << 62, 1) == -1 && errno == EAGAIN,
	      "the byte in the middle is free");
	SYS(locks_set(other, F_OFD_SETLK, F_WRLCK, 40, 10));
	child_go();
	test_reap(child);
	pass();
}
