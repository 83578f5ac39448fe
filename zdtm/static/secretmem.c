/*
 * title: secret memory (memfd_secret(2)), shared by tasks, has what it had, and is secret
 * flavours: host ns userns
 */
#include "child.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

enum { PAGES = 9, PAGE = 4096, SIZE = PAGES * PAGE, UNTOUCHED = 4, SEED = 77 };

/* All but one page are there, with the right bytes. */
static void check_content(char *at)
{
	unsigned char there[PAGES];

	SYS(mincore(at, SIZE, there));
	for (int i = 0; i < PAGES; i++) {
		CHECK((there[i] & 1) == (i != UNTOUCHED), "page %d: %d", i, there[i]);
		CHECK(i == UNTOUCHED || test_differs(at + i * PAGE, PAGE, SEED + (uint32_t)i) < 0,
		      "page %d has changed", i);
	}
}

int main(int argc, char **argv)
{
	struct stat before, after;
	char *at, *second, *other, byte;
	int fd, copy, empty;
	pid_t pid;

	test_init(argc, argv);
	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		skip("memfd_secret: %s", strerror(errno));
	SYS(ftruncate(fd, SIZE));
	copy = SYS(dup(fd));
	empty = (int)SYS(syscall(SYS_memfd_secret, 0));
	SYS(fcntl(empty, F_SETFL, O_NONBLOCK));
	at = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	second = SYS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (PAGES - 1) * PAGE));
	for (int i = 0; i < PAGES; i++)
		if (i != UNTOUCHED)
			test_fill(at + i * PAGE, PAGE, SEED + (uint32_t)i);
	pid = child_fork();
	if (!pid) {
		/* of this one the child has a mapping, and the parent the descriptor */
		other = SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE));
		SYS(close(fd));
		SYS(close(copy));
		/* what was inherited is not locked, as new mappings are */
		SYS(munmap(at, SIZE));
		SYS(munmap(second, PAGE));
		child_wait();
		CHECK(test_differs(other, PAGE, SEED + 1) < 0, "the child's view has changed");
		*other = 'c';
		_exit(0);
	}
	child_await();
	SYS(fstat(fd, &before));
	test_daemon();
	test_waitsig();
	check_content(at);
	CHECK(test_differs(second, PAGE, SEED + PAGES - 1) < 0, "the second mapping has changed");
	SYS(fstat(fd, &after));
	CHECK(after.st_size == SIZE && after.st_mode == before.st_mode && after.st_uid == before.st_uid,
	      "size %ld, mode %o, owner %u", (long)after.st_size, after.st_mode, after.st_uid);
	SYS(fstat(copy, &before));
	CHECK(after.st_ino == before.st_ino, "two memories");
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && !fcntl(copy, F_GETFD), "other flags");
	child_go();
	test_reap(pid);
	CHECK(at[PAGE] == 'c', "what the child wrote is not there");
	/* it is still of that kind */
	CHECK(process_vm_readv(getpid(), &(struct iovec){&byte, 1}, 1, &(struct iovec){at, 1}, 1, 0) == -1 &&
		      errno == EFAULT,
	      "it is secret no more");
	CHECK(fcntl(empty, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
	SYS(ftruncate(empty, PAGE));
	pass();
}
