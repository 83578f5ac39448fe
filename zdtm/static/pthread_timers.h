/* A periodic timer whose expiries start threads: the body of two cases. */
#include "threads.h"
#include "timers.h"

enum { TICK_MS = 50, TOGETHER = 6 };

static uint32_t ticks;
static char payload;

static void on_tick(union sigval value)
{
	CHECK(value.sival_ptr == &payload, "the value is %p", value.sival_ptr);
	CHECK(gettid() != getpid(), "the main thread is told");
	test_post(&ticks);
	/* On a busy machine several run at a time: their stacks are made now, glibc keeps them, and none is
	 * new later. */
	test_await(&ticks, TOGETHER);
}

int main(int argc, char **argv)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD,
		.sigev_notify_function = on_tick,
		.sigev_value.sival_ptr = &payload,
	};
	pthread_attr_t small;
	struct itimerspec spec = {timer_spec(TICK_MS * MS), timer_spec(TICK_MS * MS)};
	timer_t timer;
	uint32_t before;

	test_init(argc, argv);
	PTHREAD(pthread_attr_init(&small));
	PTHREAD(pthread_attr_setstacksize(&small, 1 << 17));
	event.sigev_notify_attributes = &small;
	SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
	SYS(timer_settime(timer, 0, &spec, NULL));
	test_await(&ticks, TOGETHER + 1);
	test_daemon();
	/* Any of the threads may get the signal: test_waitsig() would wait for the main one's. */
	do {
		before = __atomic_load_n(&ticks, __ATOMIC_SEQ_CST);
		test_await(&ticks, before + 1);
	} while (test_go());
	SYS(timer_gettime(timer, &spec));
	CHECK(timer_ns(spec.it_interval) == TICK_MS * MS, "the interval is %lld ns",
	      timer_ns(spec.it_interval));
	CHECK(timer_ns(spec.it_value) > 0 && timer_ns(spec.it_value) <= TICK_MS * MS, "%lld ns are left",
	      timer_ns(spec.it_value));
	test_await(&ticks, before + 4);
	pass();
}
