/*
 * title: a child that has opened its parent's memfd for reading reads what that writes
 * flavours: host ns userns
 */
#include "memfd.h"
#include "tree.h"

int main(int argc, char **argv)
{
	struct shared {
		uint32_t ready, go, written;
		struct stat stat;
	} *shared;
	struct memfd_state was;
	char byte = 'x';
	pid_t pid;
	int fd;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	fd = SYS(memfd_create("of two", 0));
	SYS(ftruncate(fd, 10));
	SYS(lseek(fd, 5, SEEK_SET));
	pid = SYS(fork());
	if (!pid) {
		int own = memfd_reopen(fd, O_RDONLY | O_CLOEXEC);

		SYS(close(fd));
		SYS(lseek(own, 7, SEEK_SET));
		was = memfd_state(own);
		test_post(&shared->ready);
		test_await(&shared->go, 1);
		memfd_check(own, &was);
		SYS(fstat(own, &shared->stat));
		CHECK(write(own, "x", 1) < 0 && errno == EBADF, "what was open for reading can be written");
		test_post(&shared->ready);
		test_await(&shared->go, 2);
		CHECK(read(own, &byte, 1) == 1 && byte == '!', "the child reads %d", byte);
		_exit(0);
	}
	was = memfd_state(fd);
	tree_await(pid, &shared->ready, 1);
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	test_post(&shared->go);
	tree_await(pid, &shared->ready, 2);
	SYS(fstat(fd, &was.stat));
	CHECK(was.stat.st_ino == shared->stat.st_ino, "the child has another object");
	CHECK(write(fd, "ab!", 3) == 3, "write: %m");
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
