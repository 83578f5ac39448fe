/*
 * title: SIGTRAP, blocked and pending for the thread and the process, comes out of a signalfd
 * flavours: host ns userns
 */
#include "signals.h"

#include <sys/signalfd.h>

static void expect(int fd, int code, uint32_t number)
{
	const siginfo_t want = siginfo_make(SIGTRAP, code, number);
	struct signalfd_siginfo got;

	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got), "a short read");
	CHECK(got.ssi_signo == SIGTRAP && got.ssi_code == code && got.ssi_pid == (uint32_t)getpid() &&
		      got.ssi_uid == getuid() && got.ssi_ptr == (uintptr_t)want.si_ptr,
	      "signal %u, code %d, pid %u, uid %u, payload %#llx", got.ssi_signo, got.ssi_code, got.ssi_pid,
	      got.ssi_uid, (long long)got.ssi_ptr);
}

int main(int argc, char **argv)
{
	const siginfo_t thread = siginfo_make(SIGTRAP, SI_QUEUE, 1),
			process = siginfo_make(SIGTRAP, SI_QUEUE, 2);
	struct signalfd_siginfo none;
	sigset_t trap;
	int fd;

	test_init(argc, argv);
	sigemptyset(&trap);
	sigaddset(&trap, SIGTRAP);
	mask_set(mask_bit(SIGTRAP));
	fd = SYS(signalfd(-1, &trap, SFD_NONBLOCK));
	queue_to_process(getpid(), &process);
	queue_to_thread(gettid(), &thread);
	test_daemon();
	test_waitsig();
	CHECK(mask_get() == mask_bit(SIGTRAP), "blocked is %#llx", (long long)mask_get());
	expect(fd, SI_QUEUE, 1);
	expect(fd, SI_QUEUE, 2);
	CHECK(read(fd, &none, sizeof(none)) == -1 && errno == EAGAIN, "there is a third one");
	pass();
}
