/*
 * title: parent and child each have a pidfd of one process that has ended: both show one inode
 * flavours: host ns userns
 */
#include "pidfd.h"

#include "child.h"

int main(int argc, char **argv)
{
	struct words {
		uint32_t told, opened, gone;
		unsigned long long ino;
	} *words;
	pid_t child, dead;
	int fd;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	dead = child_fork();
	if (!dead) {
		child_wait();
		_exit(0);
	}
	child_await();
	child = SYS(fork());
	if (!child) {
		fd = pidfd_of(dead, O_NONBLOCK);
		test_post(&words->opened);
		test_await(&words->gone, 1);
		pidfd_check(fd, -1, O_NONBLOCK, FD_CLOEXEC);
		words->ino = pidfd_ino(fd);
		test_post(&words->told);
		_exit(0);
	}
	fd = pidfd_of(dead, 0);
	test_await(&words->opened, 1);
	child_go();
	test_reap(dead);
	test_daemon();
	test_waitsig();
	pidfd_check(fd, -1, 0, FD_CLOEXEC);
	test_post(&words->gone);
	test_await(&words->told, 1);
	CHECK(words->ino == pidfd_ino(fd), "the parent's is %llu, the child's %llu", pidfd_ino(fd),
	      words->ino);
	test_reap(child);
	pass();
}
