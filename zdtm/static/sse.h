/*
 * Calculations in all SSE registers, which a checkpoint comes into the middle of.
 *
 * A case defines SSE_LANE, the type of a lane, SSE_LANES, and SSE_PRECISION, the last letter of instructions.
 */
#ifndef SSE_H
#define SSE_H

#include <signal.h>
#include <sys/syscall.h>

#include "zdtm.h"

/* xmm0-7 hold sums, xmm8-15 products: afterwards sums are multiplied, and products added to. */
static void sse_calculate(const SSE_LANE (*a)[SSE_LANES], const SSE_LANE (*b)[SSE_LANES],
			  SSE_LANE (*out)[SSE_LANES])
{
	static const sigset_t none;
	long result = SYS_rt_sigsuspend;

	__asm__ volatile(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
			 "movup" SSE_PRECISION " 16*\\n(%[a]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "addp" SSE_PRECISION " 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 8,9,10,11,12,13,14,15\n"
			 "mulp" SSE_PRECISION " 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 "syscall\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "mulp" SSE_PRECISION " 16*\\n(%[b]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 8,9,10,11,12,13,14,15\n"
			 "addp" SSE_PRECISION " 16*\\n(%[a]), %%xmm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
			 "movup" SSE_PRECISION " %%xmm\\n, 16*\\n(%[out])\n"
			 ".endr\n"
			 : "+a"(result)
			 : "D"(&none), "S"(8UL), [a] "r"(a), [b] "r"(b), [out] "r"(out)
			 : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
}

static _Noreturn void sse_run(void)
{
	static SSE_LANE a[16][SSE_LANES] __attribute__((aligned(16))),
		b[16][SSE_LANES] __attribute__((aligned(16))), out[16][SSE_LANES];
	volatile SSE_LANE step, expected; /* each step rounded to the precision of a lane */
	sigset_t term;

	for (int n = 0; n < 16; n++)
		for (int i = 0; i < SSE_LANES; i++) {
			a[n][i] = (SSE_LANE)1 / (SSE_LANE)(3 + n * SSE_LANES + i);
			b[n][i] = (SSE_LANE)(n + 1) / (SSE_LANE)(7 + i);
		}
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	sse_calculate(a, b, out);
	for (int n = 0; n < 16; n++)
		for (int i = 0; i < SSE_LANES; i++) {
			step = n < 8 ? a[n][i] + b[n][i] : a[n][i] * b[n][i];
			expected = n < 8 ? step * b[n][i] : step + a[n][i];
			CHECK(out[n][i] == expected, "lane %d of xmm%d is %.17g instead of %.17g", i, n,
			      (double)out[n][i], (double)expected);
		}
	pass();
}

#endif
