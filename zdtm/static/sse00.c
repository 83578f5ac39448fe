/*
 * title: single precision sums and products in SSE registers are finished after the restore
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

enum { LANES = 4 };

/* xmm0-7 hold sums, xmm8-15 products: afterwards sums are multiplied, and products added to. */
static void calculate(const float (*a)[LANES], const float (*b)[LANES], float (*out)[LANES])
{
	static const sigset_t none;
	long result = SYS_rt_sigsuspend;

	__asm__ volatile(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
			 "movups 16*\\n(%[a]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "addps 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 8,9,10,11,12,13,14,15\n"
			 "mulps 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 "syscall\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "mulps 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 8,9,10,11,12,13,14,15\n"
			 "addps 16*\\n(%[a]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
			 "movups %%xmm\\n, 16*\\n(%[out])\n"
			 ".endr\n"
			 : "+a"(result)
			 : "D"(&none), "S"(8UL), [a] "r"(a), [b] "r"(b), [out] "r"(out)
			 : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
}

int main(int argc, char **argv)
{
	static float a[16][LANES] __attribute__((aligned(16))), b[16][LANES] __attribute__((aligned(16))),
		out[16][LANES];
	volatile float step, expected; /* each step rounded to the precision of a lane */
	sigset_t term;

	test_init(argc, argv);
	for (int n = 0; n < 16; n++)
		for (int i = 0; i < LANES; i++) {
			a[n][i] = (float)1 / (float)(3 + n * LANES + i);
			b[n][i] = (float)(n + 1) / (float)(7 + i);
		}
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	calculate(a, b, out);
	for (int n = 0; n < 16; n++)
		for (int i = 0; i < LANES; i++) {
			step = n < 8 ? a[n][i] + b[n][i] : a[n][i] * b[n][i];
			expected = n < 8 ? step * b[n][i] : step + a[n][i];
			CHECK(out[n][i] == expected, "lane %d of xmm%d is %.17g instead of %.17g", i, n,
			      (double)out[n][i], (double)expected);
		}
	pass();
}
