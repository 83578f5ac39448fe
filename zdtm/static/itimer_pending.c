/*
 * title: a periodic interval timer that waits for its blocked signal to be taken goes on afterwards
 * flavours: host ns userns
 */
#include "timers.h"

#include <sys/time.h>

enum { LATE_MS = 10000 };

int main(int argc, char **argv)
{
	const struct itimerval each = {{0, 30000}, {0, 1}};
	struct itimerval now;
	siginfo_t info;

	test_init(argc, argv);
	timer_block(SIGALRM);
	SYS(setitimer(ITIMER_REAL, &each, NULL));
	timer_await_pending(SIGALRM);
	test_daemon();
	test_waitsig();
	SYS(getitimer(ITIMER_REAL, &now));
	CHECK(!now.it_interval.tv_sec && now.it_interval.tv_usec == each.it_interval.tv_usec,
	      "the interval is %ld.%06ld", (long)now.it_interval.tv_sec, (long)now.it_interval.tv_usec);
	CHECK(timer_dequeue(SIGALRM, 0, &info), "the signal is gone");
	for (int i = 0; i < 3; i++)
		CHECK(timer_dequeue(SIGALRM, LATE_MS * MS, &info), "it has ended after %d more", i);
	pass();
}
