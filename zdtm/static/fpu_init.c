/*
 * title: registers that a task has never used stay unused, for the CPU too
 * flavours: host ns userns
 * arch: x86_64
 * needs: xgetbv1
 */
#include "zdtm.h"

#include <unistd.h>

/*
 * Put every component into its initial state, as a task that has not begun yet, and spin. XGETBV(1) tells
 * which components the CPU does not take for initial any more: who loads zeroes into them has used them. So
 * does the kernel at a return from a signal, with those of the x87 and SSE: there must be none.
 */
static void spin(uint32_t *stop, uint32_t *before, uint32_t *after)
{
	static const unsigned char nothing[16384] __attribute__((aligned(64)));

	__asm__ volatile("mov $-1, %%eax; mov $-1, %%edx\n"
			 "xrstor64 %[nothing]\n"
			 "mov $1, %%ecx; xgetbv\n"
			 "mov %%eax, %[before]\n"
			 "1: cmpl $0, (%[stop])\n"
			 "je 1b\n"
			 "mov $1, %%ecx; xgetbv\n"
			 "mov %%eax, %[after]\n"
			 "fninit\n"
			 : [before] "=m"(*before), [after] "=m"(*after)
			 : [nothing] "m"(nothing), [stop] "r"(stop)
			 : "rax", "rcx", "rdx", "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)",
			   "st(5)", "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static _Noreturn void child(uint32_t *stop)
{
	const uint32_t mxcsr = 0x1f80;
	uint32_t before, after;

	test_post(stop + 1);
	spin(stop, &before, &after);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	CHECK(!(before & 0xe4), "components %x are in use in spite of XRSTOR", before);
	CHECK(!(after & ~before), "components %x were put to use by somebody else", after & ~before);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint32_t *stop;
	pid_t pid;

	test_init(argc, argv);
	stop = test_shared(2 * sizeof(*stop));
	pid = SYS(fork());
	if (!pid)
		child(stop);
	test_await(stop + 1, 1);
	test_daemon();
	test_waitsig();
	test_post(stop);
	test_reap(pid);
	pass();
}
