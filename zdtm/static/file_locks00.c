/*
 * title: whole-file POSIX locks stay their owner's, for another process to see
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include "child.h"

static void look(const char *name, short type, pid_t owner)
{
	int fd = SYS(open(name, O_RDWR));
	struct flock writer = locks_ask(fd, F_GETLK, F_WRLCK, 0, 0);
	struct flock reader = locks_ask(fd, F_GETLK, F_RDLCK, 5, 1);

	CHECK(writer.l_type == type && writer.l_pid == owner && writer.l_whence == SEEK_SET,
	      "%s: a lock of type %d of pid %d", name, writer.l_type, writer.l_pid);
	CHECK(!writer.l_start && !writer.l_len, "%s: from %ld on, %ld bytes", name, writer.l_start,
	      writer.l_len);
	CHECK(reader.l_type == (type == F_WRLCK ? F_WRLCK : F_UNLCK), "%s: readers meet type %d", name,
	      reader.l_type);
	CHECK(locks_set(fd, F_SETLK, F_WRLCK, 3, 1) == -1 && errno == EAGAIN, "%s: the lock is free", name);
	SYS(close(fd));
}

int main(int argc, char **argv)
{
	pid_t child;
	int r, w;

	test_init(argc, argv);
	r = locks_file("read");
	w = locks_file("write");
	SYS(locks_set(r, F_SETLK, F_RDLCK, 0, 0));
	SYS(locks_set(w, F_SETLK, F_WRLCK, 0, 0));
	child = child_fork();
	if (!child) {
		child_wait();
		look("read", F_RDLCK, getppid());
		look("write", F_WRLCK, getppid());
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	locks_expect(r, "POSIX ADVISORY READ 0 EOF\n");
	locks_expect(w, "POSIX ADVISORY WRITE 0 EOF\n");
	child_go();
	test_reap(child);
	pass();
}
