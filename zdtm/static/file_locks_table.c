/*
 * title: locks of tasks that share their descriptors: each bears its taker's pid, and all go with any close
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

enum { STACK = 65536 };

static struct shared {
	uint32_t ready, go;
} *shared;
static int fd, kept;

static int lock_and_end(void *nothing)
{
	(void)nothing;
	SYS(locks_set(fd, F_SETLK, F_WRLCK, 40, 10));
	return 0;
}

static int lock_and_wait(void *nothing)
{
	(void)nothing;
	SYS(locks_set(fd, F_SETLK, F_WRLCK, 20, 10));
	SYS(flock(kept, LOCK_EX));
	test_post(&shared->ready);
	test_await(&shared->go, 1);
	return 0;
}

static pid_t start(int (*function)(void *))
{
	char *stack = SYS(mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	return SYS(clone(function, stack + STACK, CLONE_FILES | SIGCHLD, NULL));
}

int main(int argc, char **argv)
{
	struct flock lock;
	pid_t child, watcher;
	int extra;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	fd = locks_file("file");
	extra = SYS(open("file", O_RDONLY));
	kept = locks_file("flock");
	SYS(locks_set(extra, F_SETLK, F_RDLCK, 0, 10));
	test_reap(start(lock_and_end));
	child = start(lock_and_wait);
	test_await(&shared->ready, 1);
	watcher = SYS(fork());
	if (!watcher) {
		test_await(&shared->ready, 2);
		lock = locks_ask(fd, F_GETLK, F_WRLCK, 0, 10);
		CHECK(lock.l_type == F_RDLCK && lock.l_pid == getppid(), "the first range: pid %d",
		      lock.l_pid);
		lock = locks_ask(fd, F_GETLK, F_RDLCK, 20, 10);
		CHECK(lock.l_type == F_WRLCK && lock.l_pid == child && lock.l_start == 20 && lock.l_len == 10,
		      "the second range: pid %d", lock.l_pid);
		CHECK(locks_ask(fd, F_GETLK, F_RDLCK, 40, 10).l_type == F_WRLCK, "the third range is free");
		test_post(&shared->go);
		test_await(&shared->ready, 3);
		lock = locks_ask(fd, F_GETLK, F_WRLCK, 0, 0);
		CHECK(lock.l_type == F_UNLCK, "a lock of pid %d is left", lock.l_pid);
		_exit(0);
	}
	test_daemon();
	test_waitsig();
	locks_expect(extra, "POSIX ADVISORY READ 0 9\n");
	locks_expect(fd, "POSIX ADVISORY WRITE 20 29\nPOSIX ADVISORY WRITE 40 49\n");
	CHECK(locks_pid(kept) == child, "the flock lock is of pid %d", locks_pid(kept));
	test_post(&shared->ready);
	test_reap(child);
	/* whoever took them: they are the table's */
	locks_expect(fd, "POSIX ADVISORY WRITE 20 29\nPOSIX ADVISORY WRITE 40 49\n");
	SYS(close(extra));
	locks_expect(fd, "");
	test_post(&shared->ready);
	test_reap(watcher);
	pass();
}
