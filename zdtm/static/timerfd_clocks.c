/*
 * title: timerfds on every clock: relative, absolute, stopped, expired, with ticks nobody has read
 * flavours: host ns
 * flags: suid
 * needs: timerfd
 */
#include "timerfd.h"

enum { FAR = 1000000, LEFT = 3600000, SLACK = 60000, KINDS = 5 }; /* ms */

static const clockid_t clocks[KINDS] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM,
					CLOCK_BOOTTIME_ALARM};

static int make(clockid_t clock, int flags)
{
	return SYS(timerfd_create(clock, flags));
}

static long now_ms(clockid_t clock)
{
	struct timespec t;

	/* Those that wake the machine can only be read where there is a clock that runs on. */
	if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
		clock = clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_BOOTTIME;
	SYS(clock_gettime(clock, &t));
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long left_ms(int fd)
{
	struct itimerspec spec;

	SYS(timerfd_gettime(fd, &spec));
	return spec.it_value.tv_sec * 1000 + spec.it_value.tv_nsec / 1000000;
}

static void check_left(int fd, long least, long most)
{
	long left = left_ms(fd);

	CHECK(left >= least && left <= most, "timer %d has %ld ms left, not %ld to %ld", fd, left, least,
	      most);
}

static void check_read(int fd, uint64_t want)
{
	uint64_t got;

	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got) && got == want, "%d has %llu ticks, not %llu",
	      fd, (unsigned long long)got, (unsigned long long)want);
}

static void check_waits(int fd)
{
	uint64_t got;

	CHECK(read(fd, &got, sizeof(got)) == -1 && errno == EAGAIN, "timer %d has expired", fd);
}

int main(int argc, char **argv)
{
	int relative[KINDS], absolute[KINDS], at, stopped, interval_only, read_out, unread, many, cancelled;
	long began, expiry;
	uint64_t got, ticks;
	int i;

	test_init(argc, argv);
	for (i = 0; i < KINDS; i++) {
		relative[i] = make(clocks[i], TFD_NONBLOCK);
		timer_start(relative[i], 0, LEFT, 0, 7, 5);
		absolute[i] = make(clocks[i], TFD_NONBLOCK);
		timer_start(absolute[i], TFD_TIMER_ABSTIME, now_ms(clocks[i]) + LEFT, 0, 0, 0);
	}
	/* A time of day that comes before the test is told to go on, or a moment after. */
	at = make(CLOCK_REALTIME, 0);
	expiry = now_ms(CLOCK_REALTIME) + 400;
	timer_start(at, TFD_TIMER_ABSTIME, expiry, 0, 0, 0);
	cancelled = make(CLOCK_REALTIME, TFD_NONBLOCK);
	timer_start(cancelled, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, FAR + now_ms(CLOCK_REALTIME), 0,
		    0, 0);
	stopped = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
	interval_only = make(CLOCK_BOOTTIME, TFD_NONBLOCK);
	timer_start(interval_only, 0, 0, 0, 3, 0);
	read_out = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
	timer_start(read_out, TFD_TIMER_ABSTIME, 0, 1, 0, 0);
	timer_wait(read_out);
	check_read(read_out, 1);
	unread = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
	timer_start(unread, TFD_TIMER_ABSTIME, 0, 1, 0, 0);
	timer_wait(unread);
	/* Since boot, every second: as many ticks as that, and the next within one. */
	many = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
	timer_start(many, TFD_TIMER_ABSTIME, 0, 1, 1, 0);
	timer_wait(many);
	began = now_ms(CLOCK_MONOTONIC);
	test_daemon();
	test_waitsig();
	for (i = 0; i < KINDS; i++) {
		check_timer(relative[i], clocks[i], 0, O_NONBLOCK, 0);
		check_timer(absolute[i], clocks[i], TFD_TIMER_ABSTIME, O_NONBLOCK, 0);
		check_left(relative[i], LEFT - SLACK, LEFT);
		check_left(absolute[i], LEFT - SLACK, LEFT);
		CHECK(fdinfo_count(relative[i], "it_interval: (7, 5)") == 1, "another interval");
		check_waits(relative[i]);
		check_waits(absolute[i]);
	}
	check_timer(cancelled, CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, O_NONBLOCK, 0);
	check_left(cancelled, FAR - SLACK, FAR);
	check_timer(stopped, CLOCK_MONOTONIC, 0, O_NONBLOCK, 0);
	check_left(stopped, 0, 0);
	check_waits(stopped);
	check_left(interval_only, 0, 0);
	check_waits(interval_only);
	CHECK(fdinfo_count(interval_only, "it_interval: (3, 0)") == 1, "the stopped one has no interval");
	check_timer(read_out, CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, O_NONBLOCK, 0);
	check_waits(read_out);
	check_left(read_out, 0, 0);
	check_timer(unread, CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, O_NONBLOCK, 0);
	check_read(unread, 1);
	check_waits(unread);
	ticks = (uint64_t)began / 1000;
	CHECK(SYS(read(many, &got, sizeof(got))) == sizeof(got) && got >= ticks &&
		      got <= ticks + SLACK / 1000,
	      "%llu ticks of one second, not %llu", (unsigned long long)got, (unsigned long long)ticks);
	timer_wait(many);
	check_read(at, 1);
	CHECK(now_ms(CLOCK_REALTIME) >= expiry, "expired before its time of day");
	pass();
}
