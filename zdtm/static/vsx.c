/*
 * title: the 64 vector-scalar registers of a sleeping task hold what they held
 * flavours: host ns userns
 * arch: ppc64le
 * cflags: -mcpu=power8 -mvsx
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

#if !defined(__powerpc64__)
#error "this case is for 64-bit POWER"
#endif

#define FIRST_32 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define LAST_32 \
	"32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63"

/*
 * rt_sigsuspend(2) with all registers loaded. The compiler is told of f0-f31 and v0-v31, which are the halves
 * of vs0-vs31 and all of vs32-vs63. The system call says in cr0.so that r3 is an errno.
 */
static long sleep_with(const unsigned char (*load)[16], unsigned char (*store)[16])
{
	static const sigset_t none;
	register long number __asm__("r0") = SYS_rt_sigsuspend;
	register const void *mask __asm__("r3") = &none;
	register long size __asm__("r4") = 8;
	register const void *in __asm__("r14") = load;
	register void *out __asm__("r15") = store;
	register long at __asm__("r16") = 0;

	__asm__ volatile(".irp n, " FIRST_32 "," LAST_32 "\n"
			 "lxvd2x \\n, %[in], %[at]\n"
			 "addi %[at], %[at], 16\n"
			 ".endr\n"
			 "sc\n"
			 "bns 1f\n"
			 "neg 3, 3\n"
			 "1: li %[at], 0\n"
			 ".irp n, " FIRST_32 "," LAST_32 "\n"
			 "stxvd2x \\n, %[out], %[at]\n"
			 "addi %[at], %[at], 16\n"
			 ".endr\n"
			 : "+r"(number), "+r"(mask), "+r"(size), [at] "+b"(at)
			 : [in] "b"(in), [out] "b"(out)
			 : "memory", "cr0", "ctr", "xer", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12",
			   "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12",
			   "f13", "f14", "f15", "f16", "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24",
			   "f25", "f26", "f27", "f28", "f29", "f30", "f31", "v0", "v1", "v2", "v3", "v4",
			   "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
			   "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
			   "v29", "v30", "v31");
	return (long)mask;
}

int main(int argc, char **argv)
{
	static unsigned char before[64][16] __attribute__((aligned(16))),
		after[64][16] __attribute__((aligned(16)));
	sigset_t term;
	long result;

	test_init(argc, argv);
	test_fill(before, sizeof(before), 9);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	result = sleep_with(before, after);
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
	for (int n = 0; n < 64; n++)
		CHECK(!memcmp(after[n], before[n], 16), "vs%d differs", n);
	pass();
}
