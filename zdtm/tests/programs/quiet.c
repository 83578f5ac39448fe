/*
 * Sets up what a careless engine would disturb, says "ready", sleeps until SIGTERM, and tells whether it was
 * disturbed: exit status 0, or 1 with a line on stderr.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

int main(void)
{
	struct sigaction act = {.sa_handler = finish}, now;
	sigset_t mask, wait;

	sigaction(SIGTERM, &act, NULL);
	signal(SIGTRAP, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTRAP);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGUSR1);
	wait = mask;
	sigdelset(&wait, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	puts("ready");
	fflush(stdout);
	while (!done)
		sigsuspend(&wait);
	sigaction(SIGTRAP, NULL, &now);
	if (now.sa_handler != SIG_IGN) {
		fprintf(stderr, "the disposition of SIGTRAP was reset\n");
		return 1;
	}
	sigprocmask(SIG_BLOCK, NULL, &mask);
	if (!sigismember(&mask, SIGTRAP) || !sigismember(&mask, SIGUSR1)) {
		fprintf(stderr, "the signal mask has changed\n");
		return 1;
	}
	return 0;
}
