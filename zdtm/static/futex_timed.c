/*
 * title: waits for a futex with timeouts of each kind end in time, none before; a woken one is woken
 * flavours: host ns userns
 * cflags: -pthread
 * ignore: sigterm
 */
#include "threads.h"
#include "timed.h"

#include <linux/futex.h>
#include <time.h>

enum kind { RELATIVE, MONOTONIC, REALTIME, PI, CONDITION, WOKEN, KINDS };

static const char *const names[KINDS] = {"a relative", "a monotonic",	"a realtime",
					 "a mutex's",  "a condition's", "the last"};
static uint32_t words[KINDS] = {1, 1, 1, 1, 1, 1}, ready, ended;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pid_t tids[KINDS];

static struct timespec after(clockid_t clock, long ms)
{
	struct timespec at;

	SYS(clock_gettime(clock, &at));
	at.tv_nsec += ms % 1000 * 1000000;
	at.tv_sec += ms / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static long wait_for(uint32_t *word, int operation, const struct timespec *time)
{
	long result = syscall(SYS_futex, word, operation, 1, time, NULL, FUTEX_BITSET_MATCH_ANY);

	return result < 0 ? errno : result;
}

static long wait_as(enum kind kind)
{
	struct timespec at;

	switch (kind) {
	case RELATIVE:
		at = (struct timespec){TIMED_MS / 1000, TIMED_MS % 1000 * 1000000L};
		return wait_for(&words[kind], FUTEX_WAIT_PRIVATE, &at);
	case MONOTONIC:
		at = after(CLOCK_MONOTONIC, TIMED_MS);
		return wait_for(&words[kind], FUTEX_WAIT_BITSET_PRIVATE, &at);
	case REALTIME:
		at = after(CLOCK_REALTIME, TIMED_MS);
		return wait_for(&words[kind], FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, &at);
	case PI:
		at = after(CLOCK_REALTIME, TIMED_MS);
		return wait_for(&words[kind], FUTEX_LOCK_PI_PRIVATE, &at);
	case CONDITION:
		at = after(CLOCK_REALTIME, TIMED_MS);
		PTHREAD(pthread_mutex_lock(&mutex));
		return pthread_cond_timedwait(&condition, &mutex, &at);
	default: at = (struct timespec){3600, 0}; return wait_for(&words[kind], FUTEX_WAIT_PRIVATE, &at);
	}
}

static void *thread(void *argument)
{
	enum kind kind = (enum kind)(intptr_t)argument;
	long started = test_now_ms(), took, result;

	tids[kind] = gettid();
	test_post(&ready);
	result = wait_as(kind);
	took = test_now_ms() - started;
	if (kind == WOKEN) {
		CHECK(!result && ended, "the wait that is woken: %ld (%s) after %ld ms", result,
		      strerror((int)result), took);
		return NULL;
	}
	CHECK(result == ETIMEDOUT, "%s time: %ld (%s) after %ld ms", names[kind], result,
	      strerror((int)result), took);
	CHECK(took >= TIMED_MS - TIMED_EARLY_MS, "%s time was over after %ld ms", names[kind], took);
	CHECK(took <= TIMED_MS + TIMED_SLACK_MS, "%s time was over only after %ld ms", names[kind], took);
	if (kind == CONDITION)
		PTHREAD(pthread_mutex_unlock(&mutex));
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[KINDS];

	test_init(argc, argv);
	/* The leader's, as long as it lives. */
	words[PI] = (uint32_t)gettid();
	for (intptr_t i = 0; i < KINDS; i++)
		threads[i] = thread_start(thread, (void *)i);
	test_await(&ready, KINDS);
	for (int i = 0; i < KINDS; i++)
		thread_sleeps_in(tids[i], SYS_futex);
	(void)timed_start();
	for (int i = 0; i < WOKEN; i++)
		thread_join(threads[i]);
	test_waitsig();
	thread_sleeps_in(tids[WOKEN], SYS_futex);
	ended = 1;
	CHECK(SYS(syscall(SYS_futex, &words[WOKEN], FUTEX_WAKE_PRIVATE, 1)) == 1,
	      "nobody was there to be woken");
	thread_join(threads[WOKEN]);
	CHECK((words[PI] & FUTEX_TID_MASK) == (uint32_t)gettid(), "the mutex's word is %#x", words[PI]);
	pass();
}
