/*
 * title: eventfds keep count (none, small, above 32 bits, full), kind, flags; shared, duplicated
 * flavours: host ns userns
 */
#include "child.h"
#include "fdinfo.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#define FULL 0xfffffffffffffffeull

static int make(uint64_t count, int flags)
{
	int fd = SYS(eventfd(0, flags));

	if (count)
		CHECK(SYS(write(fd, &count, sizeof(count))) == sizeof(count), "a short write");
	return fd;
}

static void check_read(int fd, uint64_t want)
{
	uint64_t got;

	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got) && got == want, "%d gives %#llx, not %#llx", fd,
	      (unsigned long long)got, (unsigned long long)want);
}

static void check_empty(int fd)
{
	uint64_t got;

	CHECK(read(fd, &got, sizeof(got)) == -1 && errno == EAGAIN, "%d is not empty", fd);
}

static void check_flags(int fd, int status, int descriptor, int semaphore)
{
	int now = SYS(fcntl(fd, F_GETFL)), cloexec = SYS(fcntl(fd, F_GETFD));

	CHECK(now == (O_RDWR | status) && cloexec == descriptor, "%d has flags %#o, close-on-exec %d", fd,
	      now, cloexec);
	CHECK((int)fdinfo_number(fd, "eventfd-semaphore:", 10) == semaphore, "%d: semaphore or not", fd);
}

int main(int argc, char **argv)
{
	int none, big, full, semaphore, shared, same;
	uint64_t one = 1;
	struct pollfd p;
	pid_t pid;

	test_init(argc, argv);
	none = make(0, EFD_NONBLOCK | EFD_CLOEXEC);
	big = make(0x123456789abcdefull, 0);
	full = make(FULL, EFD_NONBLOCK);
	semaphore = make(0x100000002ull, EFD_SEMAPHORE);
	SYS(fcntl(semaphore, F_SETFL, O_NONBLOCK));
	same = SYS(dup(semaphore));
	shared = make(0, 0);
	pid = child_fork();
	if (!pid) {
		child_wait();
		check_read(shared, 5);
		check_read(semaphore, 1);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check_flags(none, O_NONBLOCK, FD_CLOEXEC, 0);
	check_flags(big, 0, 0, 0);
	check_flags(full, O_NONBLOCK, 0, 0);
	check_flags(semaphore, O_NONBLOCK, 0, 1);
	check_empty(none);
	check_read(big, 0x123456789abcdefull);
	p = (struct pollfd){.fd = full, .events = POLLIN | POLLOUT};
	CHECK(SYS(poll(&p, 1, 0)) == 1 && p.revents == POLLIN, "the full one is ready for %#x", p.revents);
	CHECK(write(full, &one, sizeof(one)) == -1 && errno == EAGAIN, "there was room in the full one");
	check_read(full, FULL);
	check_empty(full);
	child_go();
	CHECK(SYS(eventfd_write(shared, 5)) == 0, "the shared one");
	test_reap(pid);
	CHECK(fdinfo_number(same, "eventfd-count:", 16) == 0x100000001ull,
	      "the count is that of a child's copy");
	check_read(same, 1);
	CHECK(fdinfo_number(semaphore, "eventfd-count:", 16) == 0x100000000ull,
	      "the duplicate is another one");
	pass();
}
