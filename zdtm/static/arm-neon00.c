/*
 * title: operands in NEON registers are multiplied and added after the restore
 * flavours: host ns userns
 * arch: aarch64
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

#if !defined(__aarch64__)
#error "this case is for AArch64"
#endif

/* Four lanes of floats: v0-9 are summands, v10-19 and v20-29 factors; v30 and v31 only wait. */
static long calculate(const float (*in)[4], float (*out)[4], uint64_t *control)
{
	static const sigset_t none;
	register long number __asm__("x8") = SYS_rt_sigsuspend;
	register const void *mask __asm__("x0") = &none;
	register long size __asm__("x1") = 8;

	__asm__ volatile(
		".irp n, 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30\n"
		"ldr q\\n, [%[in], #16*\\n]\n"
		".endr\n"
		".irp n, 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31\n"
		"ldr q\\n, [%[in], #16*\\n]\n"
		".endr\n"
		"msr fpcr, %[control]\n"
		"svc #0\n"
		"mrs %[control], fpcr\n"
		"fmla v0.4s, v10.4s, v20.4s\n fmla v1.4s, v11.4s, v21.4s\n"
		"fmla v2.4s, v12.4s, v22.4s\n fmla v3.4s, v13.4s, v23.4s\n"
		"fmla v4.4s, v14.4s, v24.4s\n fmla v5.4s, v15.4s, v25.4s\n"
		"fmla v6.4s, v16.4s, v26.4s\n fmla v7.4s, v17.4s, v27.4s\n"
		"fmla v8.4s, v18.4s, v28.4s\n fmla v9.4s, v19.4s, v29.4s\n"
		".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
		"str q\\n, [%[out], #16*\\n]\n"
		".endr\n"
		"msr fpcr, xzr\n"
		: "+r"(mask), [control] "+r"(*control)
		: "r"(number), "r"(size), [in] "r"(in), [out] "r"(out)
		: "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
		  "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
		  "v25", "v26", "v27", "v28", "v29", "v30", "v31");
	return (long)mask;
}

int main(int argc, char **argv)
{
	static float in[32][4], out[32][4];
	uint64_t control = 3 << 22; /* rounding towards zero */
	sigset_t term;
	long result;

	test_init(argc, argv);
	for (int n = 0; n < 32; n++)
		for (int i = 0; i < 4; i++)
			in[n][i] = (float)(n + 1) * 64 + (float)i; /* all results are exact */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	result = calculate(in, out, &control);
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
	CHECK(control == 3 << 22, "fpcr is %lx", control);
	for (int n = 0; n < 32; n++)
		for (int i = 0; i < 4; i++) {
			float expected = n < 10 ? in[n][i] + in[n + 10][i] * in[n + 20][i] : in[n][i];

			CHECK(out[n][i] == expected, "lane %d of v%d is %g instead of %g", i, n, out[n][i],
			      expected);
		}
	pass();
}
