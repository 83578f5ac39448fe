/*
 * title: POSIX timers keep their ids, deleted ones are not there, new ones get others
 * flavours: host ns userns
 */
#include "timers.h"

#include <sys/prctl.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif

enum { COUNT = 40, FAR = 7000 };

static bool is_kept(int id)
{
	return id == 1 || id == 2 || id == 17 || id == COUNT - 1;
}

/* One with an id that counting takes long to reach, where the kernel makes such. */
static int far_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	int id = FAR;

	if (prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0))
		return -1;
	SYS(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	SYS(prctl(PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0));
	CHECK(id == FAR, "the far timer is %d", id);
	return id;
}

int main(int argc, char **argv)
{
	struct itimerspec spec;
	int id, far;

	test_init(argc, argv);
	for (int i = 0; i < COUNT; i++) {
		id = timer_make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, NULL);
		CHECK(id == i, "timer %d has the id %d", i, id);
		if (i != 17) /* which is never started */
			timer_start(i, 9000 * S, (i + 1) * S);
	}
	for (int i = 0; i < COUNT; i++)
		if (!is_kept(i))
			SYS(syscall(SYS_timer_delete, i));
	far = far_timer();
	test_daemon();
	test_waitsig();
	for (int i = 0; i < COUNT + 10; i++) {
		if (!is_kept(i)) {
			CHECK(syscall(SYS_timer_gettime, i, &spec) == -1 && errno == EINVAL,
			      "timer %d is there", i);
			continue;
		}
		CHECK(timer_interval(i) == (i == 17 ? 0 : (i + 1) * S), "timer %d: interval %lld", i,
		      timer_interval(i));
		CHECK(!timer_left(i) == (i == 17), "timer %d: %lld ns are left", i, timer_left(i));
	}
	if (far >= 0)
		CHECK(!timer_left(far), "the far timer runs");
	id = timer_make(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL);
	CHECK(!is_kept(id) && id != far, "a new timer has the id %d of another one", id);
	pass();
}
