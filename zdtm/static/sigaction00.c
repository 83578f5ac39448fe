/*
 * title: the signal mask and every signal's action, mask and flags stay
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <signal.h>

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

/* Different actions for neighbours, so that a shift by one shows. */
static struct sigaction wanted(int sig)
{
	struct sigaction action = {.sa_flags = 0};

	sigemptyset(&action.sa_mask);
	switch (sig % 3) {
	case 0: action.sa_handler = SIG_IGN; break;
	case 1: action.sa_handler = SIG_DFL; break;
	case 2:
		action.sa_sigaction = handler;
		action.sa_flags = SA_SIGINFO | (sig % 2 ? SA_RESTART : SA_ONSTACK);
		sigaddset(&action.sa_mask, sig % 7 + 1);
		break;
	}
	return action;
}

static bool usable(int sig)
{
	return sig != SIGKILL && sig != SIGSTOP && sig != SIGTERM && (sig < 32 || sig >= SIGRTMIN);
}

static bool blocked(int sig)
{
	return usable(sig) && sig % 5 == 0;
}

int main(int argc, char **argv)
{
	struct sigaction action;
	sigset_t mask;
	int sig;

	test_init(argc, argv);
	sigemptyset(&mask);
	for (sig = 1; sig <= SIGRTMAX; sig++) {
		if (blocked(sig))
			sigaddset(&mask, sig);
		if (!usable(sig))
			continue;
		action = wanted(sig);
		SYS(sigaction(sig, &action, NULL));
	}
	SYS(sigprocmask(SIG_SETMASK, &mask, NULL));
	test_daemon();
	test_waitsig();
	SYS(sigprocmask(SIG_SETMASK, NULL, &mask));
	for (sig = 1; sig <= SIGRTMAX; sig++) {
		struct sigaction want = wanted(sig);
		int other;

		CHECK(sigismember(&mask, sig) == blocked(sig) || !usable(sig), "signal %d is%s blocked", sig,
		      blocked(sig) ? " not" : "");
		if (!usable(sig))
			continue;
		SYS(sigaction(sig, NULL, &action));
		CHECK(action.sa_sigaction == want.sa_sigaction, "signal %d has another handler", sig);
		CHECK((action.sa_flags & ~0x04000000) == want.sa_flags,
		      "signal %d has flags %x instead of %x", sig, action.sa_flags, want.sa_flags);
		for (other = 1; other <= SIGRTMAX; other++)
			CHECK(sigismember(&action.sa_mask, other) == sigismember(&want.sa_mask, other) ||
				      (other >= 32 && other < SIGRTMIN),
			      "the handler of %d masks %d wrongly", sig, other);
	}
	pass();
}
