/*
 * title: the timer slack is each thread's own, and so is what it goes back to
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"

#include <sys/prctl.h>

static const int settings[] = {1, 50001, 4000000, 123456, 0, 0};

static void body(int number)
{
	int usual = SYS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	int wanted = settings[number] ? settings[number] : usual, now;

	SYS(prctl(PR_SET_TIMERSLACK, settings[number], 0, 0, 0));
	each_wait();
	now = SYS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	CHECK(now == wanted, "%d: %d ns instead of %d", number, now, wanted);
	SYS(prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0));
	now = SYS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	CHECK(now == usual, "%d: the default is %d ns instead of %d", number, now, usual);
}

int main(int argc, char **argv)
{
	int now;

	test_init(argc, argv);
	each_start(sizeof(settings) / sizeof(*settings), body);
	SYS(prctl(PR_SET_TIMERSLACK, 70000, 0, 0, 0));
	test_daemon();
	test_waitsig();
	now = SYS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	CHECK(now == 70000, "%d ns instead of 70000", now);
	each_end();
	pass();
}
