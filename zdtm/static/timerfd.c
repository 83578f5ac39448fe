/*
 * title: a timerfd of the monotonic clock has its interval and flags, what was left, and no fewer ticks
 * flavours: host ns userns
 * needs: timerfd
 */
#include "timerfd.h"

int main(int argc, char **argv)
{
	const struct timespec interval = {.tv_nsec = 20000000};
	struct itimerspec now;
	int fd, slow;
	uint64_t before, got;
	long began;

	test_init(argc, argv);
	fd = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
	timer_start(fd, 0, 0, 1, 0, 20000000);
	slow = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
	began = test_now_ms();
	timer_start(slow, 0, 3000, 0, 0, 0);
	timer_wait(fd);
	SYS(timerfd_gettime(fd, &now));
	before = timer_ticks(fd);
	test_daemon();
	test_waitsig();
	check_timer(fd, CLOCK_MONOTONIC, 0, O_NONBLOCK, FD_CLOEXEC);
	check_timer(slow, CLOCK_MONOTONIC, 0, 0, 0);
	SYS(timerfd_gettime(fd, &now));
	CHECK(now.it_interval.tv_sec == 0 && now.it_interval.tv_nsec == interval.tv_nsec,
	      "the interval is %lld.%09ld s", (long long)now.it_interval.tv_sec, now.it_interval.tv_nsec);
	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got) && got >= before, "%llu ticks, %llu before",
	      (unsigned long long)got, (unsigned long long)before);
	timer_wait(fd);
	/* Not before its time, and only once. */
	CHECK(SYS(read(slow, &got, sizeof(got))) == sizeof(got) && got == 1, "%llu ticks of one",
	      (unsigned long long)got);
	CHECK(test_now_ms() - began >= 3000, "expired after %ld ms", test_now_ms() - began);
	SYS(timerfd_gettime(slow, &now));
	CHECK(!now.it_value.tv_sec && !now.it_value.tv_nsec, "it goes on");
	pass();
}
