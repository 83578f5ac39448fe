/*
 * title: a task that has its accesses checked for alignment goes on to have them checked
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <setjmp.h>
#include <signal.h>

static volatile uint64_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static sigjmp_buf out;

/* The flag is still set in the handler; the C library does not keep to it. */
static void on_bus(int sig)
{
	__asm__ volatile("pushfq\n andl $~0x40000, (%rsp)\n popfq");
	siglongjmp(out, sig);
}

/* Spin with the flag set; an access that is not aligned follows. Returns the flags. */
static uint64_t spin(void)
{
	static const uint64_t words[2];
	uint64_t flags;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n" /* not onto the red zone */
			 "pushfq; orl $0x40000, (%%rsp); popfq\n"
			 "1: cmpq $0, %[stop]\n"
			 "je 1b\n"
			 "pushfq; mov (%%rsp), %[flags]\n"
			 "mov 1+%[words], %%rcx\n"
			 "andl $~0x40000, (%%rsp); popfq\n"
			 "lea 128(%%rsp), %%rsp\n"
			 : [flags] "=&r"(flags)
			 : [stop] "m"(stop), [words] "m"(words)
			 : "rcx", "cc", "memory");
	return flags;
}

int main(int argc, char **argv)
{
	struct sigaction term = {.sa_handler = on_term}, bus = {.sa_handler = on_bus};
	uint64_t flags;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &term, NULL));
	SYS(sigaction(SIGBUS, &bus, NULL));
	test_daemon();
	if (!sigsetjmp(out, 1)) {
		flags = spin();
		fail("an access that is not aligned went through; the flags are %lx", flags);
	}
	CHECK(stop, "an access that is not aligned was made by somebody else");
	pass();
}
