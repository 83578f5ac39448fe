/*
 * title: nothing is ever written below the stack of a running task, the red zone included
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { SIZE = 256 * 1024, USED = 64 };

/*
 * Run with the stack pointer near the top of `stack` until SIGTERM is pending. Nothing of it is used: the
 * system calls between the spinning write elsewhere, and no handler runs. Who needs a stack for code of his
 * own finds this one full, from the red zone down.
 */
static void run_on(unsigned char *stack, const uint64_t *pending)
{
	register long eight __asm__("rsi") = 8;
	register unsigned char *top __asm__("r12") = stack + SIZE - USED;
	register void *own __asm__("r13");

	__asm__ volatile("mov %%rsp, %[own]\n"
			 "mov %[top], %%rsp\n"
			 "1: mov %[number], %%eax\n"
			 "mov %[pending], %%rdi\n"
			 "syscall\n"
			 "mov $100000, %%ecx\n"
			 "2: dec %%ecx\n"
			 "jnz 2b\n"
			 "testl %[term], (%[pending])\n"
			 "jz 1b\n"
			 "mov %[own], %%rsp\n"
			 : [own] "=&r"(own)
			 : [top] "r"(top), [pending] "r"(pending),
			   "r"(eight), [number] "i"(SYS_rt_sigpending), [term] "i"(1 << (SIGTERM - 1))
			 : "rax", "rcx", "rdi", "r11", "memory", "cc");
}

int main(int argc, char **argv)
{
	static uint64_t pending;
	unsigned char *stack;
	sigset_t term;
	long at;

	test_init(argc, argv);
	stack = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
	test_fill(stack, SIZE, 11);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	run_on(stack, &pending);
	at = test_differs(stack, SIZE, 11);
	CHECK(at < 0, "something was written %ld bytes below the stack pointer", SIZE - USED - at);
	test_waitsig();
	pass();
}
