/*
 * title: pending signals of every origin keep all of their siginfo
 * flavours: host ns userns
 */
#include "signals.h"

/*
 * Queued by hand: to itself a task may send any code, with whatever else. One number each: others than the
 * realtime ones wait only once. No SIGCONT: it takes those that stop off the queue. SIGTRAP: see sigtrap.c.
 */
static const struct {
	int sig, code;
} kinds[] = {
	{SIGHUP, SI_QUEUE},
	{SIGQUIT, SI_TIMER},
	{SIGUSR1, SI_MESGQ},
	{SIGPIPE, SI_ASYNCIO},
	{SIGPOLL, SI_SIGIO},
	{SIGWINCH, SI_ASYNCNL},
	{SIGALRM, -1000},
	{SIGXCPU, SI_KERNEL},
	{SIGURG, 7},
	{SIGSEGV, SEGV_MAPERR},
	{SIGBUS, BUS_MCEERR_AO},
	{SIGFPE, FPE_INTDIV},
	{SIGILL, ILL_BADSTK},
	{SIGSYS, 1},
	{SIGCHLD, CLD_DUMPED},
	{SIGTTIN, SI_USER},
	{SIGTTOU, SI_TKILL},
	{SIGTSTP, SI_USER},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds), KERNELS = 48 };

/* The bytes that the kernel keeps of a siginfo_t, all of them different. */
static siginfo_t filled(int i)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	test_fill(&info, KERNELS, (uint32_t)i);
	info.si_signo = kinds[i].sig;
	info.si_code = kinds[i].code;
	return info;
}

/* From the kernel: nothing but the sender. */
static void expect_sent(int sig, int code, void *payload)
{
	siginfo_t want = siginfo_make(sig, code, 0);

	want.si_ptr = payload;
	signal_expect(&want);
}

int main(int argc, char **argv)
{
	int i;

	test_init(argc, argv);
	mask_set(~(mask_bit(SIGTERM) | 3ULL << 31));
	for (i = 0; i < KINDS; i++) {
		siginfo_t info = filled(i);

		if (i % 2)
			queue_to_process(getpid(), &info);
		else
			queue_to_thread(gettid(), &info);
	}
	SYS(kill(getpid(), SIGRTMIN));
	SYS(syscall(SYS_tgkill, getpid(), gettid(), SIGRTMIN + 1));
	SYS(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_ptr = main}));
	test_daemon();
	test_waitsig();
	for (i = 0; i < KINDS; i++) {
		siginfo_t want = filled(i);

		signal_expect(&want);
	}
	expect_sent(SIGRTMIN, SI_USER, NULL);
	expect_sent(SIGRTMIN + 1, SI_TKILL, NULL);
	expect_sent(SIGRTMIN + 2, SI_QUEUE, main);
	CHECK(!pending_get(), "%#llx is pending still", (long long)pending_get());
	pass();
}
