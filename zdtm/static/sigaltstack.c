/*
 * title: threads on and beside their alternative stacks are there again, and the stacks are as they were set
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31) /* linux/signal.h, which the library's signal.h does not go with */
#endif

/* Asleep in a handler on it; the same with a stack that is not one while it is in use; beside it; without. */
enum kind { ON, AUTODISARM, BESIDE, WITHOUT, KINDS };

static const int ss_flags[KINDS] = {0, (int)SS_AUTODISARM, 0, SS_DISABLE};
static stack_t stacks[KINDS];
static uint32_t ready, told;
static __thread enum kind self;

static void check_stack(const char *when, void *base, size_t size, int flags)
{
	stack_t now;

	SYS(sigaltstack(NULL, &now));
	CHECK(now.ss_sp == base && now.ss_size == size && now.ss_flags == flags,
	      "%s, thread %d: the stack is %p, %zu bytes, flags %#x, not %p, %zu, %#x", when, self, now.ss_sp,
	      now.ss_size, now.ss_flags, base, size, flags);
}

static void check_in_use(const char *when)
{
	stack_t off = {.ss_flags = SS_DISABLE};

	if (self == AUTODISARM)
		return check_stack(when, NULL, 0, SS_DISABLE);
	check_stack(when, stacks[ON].ss_sp, stacks[ON].ss_size, SS_ONSTACK);
	CHECK(sigaltstack(&off, NULL) == -1 && errno == EPERM, "%s: the stack in use can be taken away",
	      when);
}

static void on_signal(int sig)
{
	unsigned char bytes[2048];
	char *base = stacks[self].ss_sp;

	(void)sig;
	CHECK((char *)bytes >= base && (char *)bytes < base + stacks[self].ss_size, "not on the stack");
	test_fill(bytes, sizeof(bytes), 11u + self);
	check_in_use("before");
	test_post(&ready);
	test_await(&told, 1);
	CHECK(test_differs(bytes, sizeof(bytes), 11u + self) < 0, "the bytes on the stack differ");
	check_in_use("after");
}

static void own_stack(enum kind kind)
{
	self = kind;
	if (kind == WITHOUT)
		return;
	stacks[kind].ss_size = (size_t)(1 << 16) + 4096u * kind;
	stacks[kind].ss_sp = malloc(stacks[kind].ss_size);
	stacks[kind].ss_flags = ss_flags[kind];
	SYS(sigaltstack(&stacks[kind], NULL));
}

static void *thread(void *argument)
{
	own_stack((enum kind)(intptr_t)argument);
	if (self == ON || self == AUTODISARM) {
		PTHREAD(pthread_kill(pthread_self(), SIGUSR1));
	} else {
		test_post(&ready);
		test_await(&told, 1);
	}
	check_stack("at the end", stacks[self].ss_sp, stacks[self].ss_size, ss_flags[self]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	pthread_t threads[KINDS];
	int i;

	test_init(argc, argv);
	SYS(sigaction(SIGUSR1, &action, NULL));
	own_stack(BESIDE);
	for (i = 0; i < KINDS; i++)
		if (i != BESIDE)
			threads[i] = thread_start(thread, (void *)(intptr_t)i);
	test_await(&ready, KINDS - 1);
	test_daemon();
	test_waitsig();
	check_stack("after", stacks[BESIDE].ss_sp, stacks[BESIDE].ss_size, 0);
	test_post(&told);
	for (i = 0; i < KINDS; i++)
		if (i != BESIDE)
			thread_join(threads[i]);
	pass();
}
