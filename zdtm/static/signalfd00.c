/*
 * title: signalfds have their masks and flags, and deliver what was pending; one is shared by two numbers
 * flavours: host ns userns
 */
#include "signals.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/signalfd.h>

enum { REALTIME = 3 };

static int make(uint64_t mask, int flags)
{
	return (int)SYS(syscall(SYS_signalfd4, -1, &mask, sizeof(mask), flags));
}

static uint64_t mask_of(int fd)
{
	char path[64], *text, *at;
	uint64_t mask;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = test_read_file(path, NULL);
	at = strstr(text, "sigmask:");
	CHECK(at && sscanf(at, "sigmask: %llx", (unsigned long long *)&mask) == 1, "%d is no signalfd", fd);
	return mask;
}

static void check_mask(int fd, uint64_t want)
{
	CHECK(mask_of(fd) == want, "the mask of %d is %#llx, not %#llx", fd, (long long)mask_of(fd),
	      (long long)want);
}

static void check_flags(int fd, int status, int descriptor)
{
	int now = SYS(fcntl(fd, F_GETFL)), cloexec = SYS(fcntl(fd, F_GETFD));

	CHECK(now == (O_RDWR | status) && cloexec == descriptor, "%d has flags %#o, close-on-exec %d", fd,
	      now, cloexec);
}

/* Every field: those that this kind of signal does not have are 0. */
static void expect(int fd, const siginfo_t *want)
{
	struct signalfd_siginfo got, all = {
					     .ssi_signo = (uint32_t)want->si_signo,
					     .ssi_code = want->si_code,
					     .ssi_pid = (uint32_t)want->si_pid,
					     .ssi_uid = want->si_uid,
					     .ssi_ptr = (uintptr_t)want->si_ptr,
					     .ssi_int = want->si_int,
				     };

	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got), "a short read");
	CHECK(!memcmp(&got, &all, sizeof(got)),
	      "%d gives signal %u, code %d, pid %u, uid %u, payload %#llx; not signal %d, code %d, payload %p",
	      fd, got.ssi_signo, got.ssi_code, got.ssi_pid, got.ssi_uid, (long long)got.ssi_ptr,
	      want->si_signo, want->si_code, want->si_ptr);
}

static siginfo_t realtime(uint32_t number)
{
	return siginfo_make(SIGRTMIN, SI_QUEUE, number);
}

int main(int argc, char **argv)
{
	const uint64_t some = mask_bit(SIGUSR1) | mask_bit(SIGRTMIN) | mask_bit(SIGRTMAX),
		       other = mask_bit(SIGUSR2);
	const siginfo_t user = siginfo_make(SIGUSR1, SI_QUEUE, 1),
			second = siginfo_make(SIGUSR2, SI_QUEUE, 2);
	struct signalfd_siginfo none;
	int fd, same, waiting, empty;
	uint64_t changed;
	uint32_t i;

	test_init(argc, argv);
	mask_set(some | other);
	fd = make(some, SFD_NONBLOCK | SFD_CLOEXEC);
	same = SYS(dup(fd));
	waiting = make(other, 0);
	empty = make(0, SFD_NONBLOCK);
	for (i = 0; i < REALTIME; i++) {
		siginfo_t info = realtime(10 + i);

		queue_to_process(getpid(), &info);
	}
	queue_to_thread(gettid(), &user);
	queue_to_process(getpid(), &second);
	test_daemon();
	test_waitsig();
	CHECK(mask_get() == (some | other), "blocked is %#llx", (long long)mask_get());
	check_mask(fd, some);
	check_mask(same, some);
	check_mask(waiting, other);
	check_mask(empty, 0);
	check_flags(fd, O_NONBLOCK, FD_CLOEXEC);
	check_flags(same, O_NONBLOCK, 0);
	check_flags(waiting, 0, 0);
	check_flags(empty, O_NONBLOCK, 0);
	CHECK(read(empty, &none, sizeof(none)) == -1 && errno == EAGAIN,
	      "the one without a mask gives something");
	expect(same, &user);
	for (i = 0; i < REALTIME; i++) {
		siginfo_t want = realtime(10 + i);

		expect(i % 2 ? fd : same, &want);
	}
	CHECK(read(fd, &none, sizeof(none)) == -1 && errno == EAGAIN, "there is one more");
	expect(waiting, &second);
	/* Of two numbers for one description, one changes both; of another description, not. */
	changed = mask_bit(SIGHUP);
	SYS(syscall(SYS_signalfd4, same, &changed, sizeof(changed), 0));
	check_mask(fd, changed);
	check_mask(waiting, other);
	SYS(fcntl(fd, F_SETFL, 0));
	check_flags(same, 0, 0);
	pass();
}
