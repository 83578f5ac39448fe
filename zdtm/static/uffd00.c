/*
 * title: a userfaultfd tells of missing pages and of writes to protected ones, as before
 * flavours: host ns userns
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

enum { PAGE = 4096, PAGES = 16 };

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static char *memory;

static char *page(int i)
{
	return memory + (size_t)i * PAGE;
}

static void reg(int fd, int first, int count, uint64_t mode)
{
	struct uffdio_register what = {.range = {(uintptr_t)page(first), (uint64_t)count * PAGE},
				       .mode = mode};

	SYS(ioctl(fd, UFFDIO_REGISTER, &what));
}

static void protect(int fd, int i, int on)
{
	struct uffdio_writeprotect what = {.range = {(uintptr_t)page(i), PAGE},
					   .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	SYS(ioctl(fd, UFFDIO_WRITEPROTECT, &what));
}

/* The other thread: reads or writes a byte of a page. */
static uint32_t asked, answered;
static int which, writes;
static char seen;

static void *toucher(void *unused)
{
	uint32_t turn;

	for (turn = 1;; turn++) {
		test_await(&asked, turn);
		if (which < 0)
			return unused;
		if (writes)
			*(volatile char *)page(which) = 'w';
		seen = *(volatile char *)page(which);
		test_post(&answered);
	}
}

/* Is a message about that page waiting? */
static int told(int fd, int i, uint64_t flags)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct uffd_msg msg;

	if (SYS(poll(&ready, 1, 0)) == 0)
		return 0;
	if (read(fd, &msg, sizeof(msg)) != sizeof(msg))
		return 0;
	CHECK(msg.event == UFFD_EVENT_PAGEFAULT &&
		      msg.arg.pagefault.address / PAGE == (uintptr_t)page(i) / PAGE &&
		      msg.arg.pagefault.flags == flags,
	      "event %d at %#llx, flags %#llx, not of page %d", msg.event,
	      (unsigned long long)msg.arg.pagefault.address, (unsigned long long)msg.arg.pagefault.flags, i);
	return 1;
}

static uint32_t turns;

static void touch(int i, int write)
{
	which = i;
	writes = write;
	turns++;
	test_post(&asked);
}

/* Without anybody being told. */
static void check_quiet(int fd, int i, char want)
{
	touch(i, 0);
	test_await(&answered, turns);
	CHECK(seen == want, "page %d has '%c' instead of '%c'", i, seen, want);
	CHECK(!told(fd, i, 0), "page %d is told of", i);
}

static void wait_told(int fd, int i, uint64_t flags)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (!told(fd, i, flags))
		SYS(poll(&ready, 1, -1));
}

static void check_missing(int fd, int i)
{
	static char source[PAGE] __attribute__((aligned(PAGE)));
	struct uffdio_copy copy = {(uintptr_t)page(i), (uintptr_t)source, PAGE, 0, 0};

	touch(i, 0);
	wait_told(fd, i, 0);
	memset(source, 'a' + i, PAGE);
	SYS(ioctl(fd, UFFDIO_COPY, &copy));
	test_await(&answered, turns);
	CHECK(seen == 'a' + i, "page %d was filled with %d", i, seen);
}

static void check_protected(int fd, int i)
{
	touch(i, 1);
	wait_told(fd, i, UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	CHECK(*page(i) != 'w', "page %d was written to before it was allowed", i);
	protect(fd, i, 0);
	test_await(&answered, turns);
	CHECK(seen == 'w', "page %d: '%c' was written", i, seen);
}

int main(int argc, char **argv)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	struct uffdio_zeropage zero;
	int fd, i;
	pthread_t thread;

	test_init(argc, argv);
	fd = (int)syscall(SYS_userfaultfd, O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		skip("userfaultfd: %s", strerror(errno));
	SYS(ioctl(fd, UFFDIO_API, &api));
	memory = SYS(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	/* 0 to 3 missing; 4 to 7 missing and protected; 8 to 11 protected; the rest nothing. */
	for (i = 0; i < PAGES; i++)
		if (i % 2 == 0)
			memset(page(i), 'A' + i, PAGE);
	reg(fd, 0, 4, UFFDIO_REGISTER_MODE_MISSING);
	reg(fd, 4, 4, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	reg(fd, 8, 4, UFFDIO_REGISTER_MODE_WP);
	zero = (struct uffdio_zeropage){.range = {(uintptr_t)page(3), PAGE}};
	SYS(ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	memset(page(2), 0, PAGE);
	protect(fd, 4, 1);
	protect(fd, 8, 1);
	CHECK(!pthread_create(&thread, NULL, toucher, NULL), "pthread_create");
	test_daemon();
	test_waitsig();
	CHECK(SYS(fcntl(fd, F_GETFL)) & O_NONBLOCK && !SYS(fcntl(fd, F_GETFD)), "its flags differ");
	check_quiet(fd, 0, 'A');
	check_quiet(fd, 2, 0); /* there, and all zeroes */
	check_quiet(fd, 3, 0);
	check_quiet(fd, 4, 'E');
	check_quiet(fd, 9, 0); /* not there, but nobody wants to know */
	check_missing(fd, 1);
	check_missing(fd, 5);
	check_protected(fd, 4);
	check_protected(fd, 8);
	touch(6, 1); /* never was protected */
	test_await(&answered, turns);
	touch(10, 1);
	test_await(&answered, turns);
	touch(13, 1); /* never registered */
	test_await(&answered, turns);
	CHECK(!told(fd, 0, 0), "there is more");
	which = -1;
	test_post(&asked);
	CHECK(!pthread_join(thread, NULL), "pthread_join");
	pass();
}
