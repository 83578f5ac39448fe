/*
 * title: from a handler that interrupted a handler, on the alternative stack, it comes back to both
 * flavours: host ns userns
 */
#include "registers.h"
#include "signals.h"

#include <stdlib.h>

static stack_t stack = {.ss_size = 1 << 17};
static struct held outer, inner;
static volatile sig_atomic_t depth, deepest;

static uint64_t own_mask(void)
{
	return mask_bit(SIGHUP) | mask_bit(SIGRTMIN + 2);
}

static void check_place(const char *when, uint64_t mask, int flags)
{
	stack_t now;

	SYS(sigaltstack(NULL, &now));
	CHECK(now.ss_sp == stack.ss_sp && now.ss_size == stack.ss_size && now.ss_flags == flags,
	      "%s the stack is %p, %zu bytes, flags %#x", when, now.ss_sp, now.ss_size, now.ss_flags);
	CHECK(mask_get() == mask, "%s %#llx is blocked, not %#llx", when, (long long)mask_get(),
	      (long long)mask);
}

/* Raise the signal with registers full of values; the handler has other ones. */
static void raise_with(struct held *values, const char *who)
{
	struct held after;
	long result = held_call(SYS_tgkill, getpid(), gettid(), SIGUSR1, values, &after);

	CHECK(!result, "tgkill: %s", strerror((int)-result));
	held_check(values, &after, who);
}

static void handler(int sig, siginfo_t *info, void *context)
{
	/* SA_NODEFER: the signal itself stays open. */
	const uint64_t mask = own_mask() | mask_bit(SIGUSR2);
	char *here = __builtin_frame_address(0), *base = stack.ss_sp;
	unsigned char bytes[1024];
	uint32_t seed = 5u + (uint32_t)depth;

	(void)context;
	CHECK(here > base && here < base + stack.ss_size, "not on the alternative stack");
	test_fill(bytes, sizeof(bytes), seed);
	deepest = ++depth;
	check_place("inside", mask, SS_ONSTACK);
	if (depth == 1) {
		raise_with(&inner, "the handler");
		CHECK(deepest == 2, "the handler was not interrupted by another one");
	} else {
		test_daemon();
		test_waitsig();
	}
	check_place("inside, afterwards,", mask, SS_ONSTACK);
	CHECK(test_differs(bytes, sizeof(bytes), seed) < 0, "the bytes on the stack differ");
	CHECK(sig == SIGUSR1 && info->si_code == SI_TKILL && info->si_pid == getpid(),
	      "another siginfo: %d, %d", info->si_code, info->si_pid);
	depth--;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	test_init(argc, argv);
	sigaddset(&action.sa_mask, SIGUSR2);
	SYS(sigaction(SIGUSR1, &action, NULL));
	stack.ss_sp = malloc(stack.ss_size);
	SYS(sigaltstack(&stack, NULL));
	mask_set(own_mask());
	held_fill(&outer, 1);
	held_fill(&inner, 2);
	raise_with(&outer, "the program");
	CHECK(deepest == 2 && !depth, "the handlers have not returned one by one");
	check_place("outside", own_mask(), 0);
	pass();
}
