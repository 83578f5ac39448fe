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
 * rt_sigsuspend(2) with all registers loaded. What it answers in r3 is an errno if it says so in cr0.
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
			   "vs0", "vs1", "vs2", "vs3", "vs4", "vs5", "vs6", "vs7", "vs8", "vs9", "vs10",
			   "vs11", "vs12", "vs13", "vs14", "vs15", "vs16", "vs17", "vs18", "vs19", "vs20",
			   "vs21", "vs22", "vs23", "vs24", "vs25", "vs26", "vs27", "vs28", "vs29", "vs30",
			   "vs31", "vs32", "vs33", "vs34", "vs35", "vs36", "vs37", "vs38", "vs39", "vs40",
			   "vs41", "vs42", "vs43", "vs44", "vs45", "vs46", "vs47", "vs48", "vs49", "vs50",
			   "vs51", "vs52", "vs53", "vs54", "vs55", "vs56", "vs57", "vs58", "vs59", "vs60",
			   "vs61", "vs62", "vs63");
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
