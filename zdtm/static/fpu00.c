/*
 * title: a calculation that is half done on the x87 stack comes to its result
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

/*
 * The roots of a x^2 + b x + c: with b, 2a and the discriminant's root on the stack, in all the precision
 * that only the registers have, the rest is left for later.
 */
static void roots(double a, double b, double c, bool wait, double root[2])
{
	static const sigset_t none;
	long result = wait ? SYS_rt_sigsuspend : SYS_getpid;
	const double four = 4;

	__asm__ volatile("fninit\n"
			 "fldl %[b]\n"			/* b */
			 "fldl %[a]; fadd %%st, %%st\n" /* 2a b */
			 "fldl %[b]; fmul %%st, %%st\n"
			 "fldl %[a]; fmull %[c]; fmull %[four]; fsubrp\n"
			 "fsqrt\n" /* d 2a b */
			 "syscall\n"
			 "fld %%st(2); fchs; fadd %%st(1), %%st; fdiv %%st(2), %%st; fstpl %[plus]\n"
			 "fld %%st(2); fchs; fsub %%st(1), %%st; fdiv %%st(2), %%st; fstpl %[minus]\n"
			 "fstp %%st(0); fstp %%st(0); fstp %%st(0)\n"
			 : "+a"(result), [plus] "=m"(root[0]), [minus] "=m"(root[1])
			 : "D"(&none), "S"(8UL), [a] "m"(a), [b] "m"(b), [c] "m"(c), [four] "m"(four)
			 : "rcx", "r11", "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
			   "st(6)", "st(7)");
	CHECK(!wait || result == -EINTR, "sigsuspend returned %ld", result);
}

int main(int argc, char **argv)
{
	double expected[2], got[2];
	sigset_t term;

	test_init(argc, argv);
	roots(1.1, -7.3, 2.7, false, expected);
	CHECK(expected[0] > 6.2 && expected[0] < 6.3 && expected[1] > 0.39 && expected[1] < 0.4,
	      "the roots are %g and %g", expected[0], expected[1]);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	roots(1.1, -7.3, 2.7, true, got);
	CHECK(!memcmp(got, expected, sizeof(got)), "the roots are %.17g and %.17g instead of %.17g and %.17g",
	      got[0], got[1], expected[0], expected[1]);
	pass();
}
