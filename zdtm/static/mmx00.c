/*
 * title: sums and products in MMX registers are finished after the restore
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

/* mm0-3 hold sums of bytes, mm4-7 the low halves of products of words; from each the first operand is taken.
 */
static void calculate(const unsigned char (*a)[8], const unsigned char (*b)[8], unsigned char (*out)[8],
		      bool wait)
{
	static const sigset_t none;
	long result = wait ? SYS_rt_sigsuspend : SYS_getpid;

	__asm__ volatile(".irp n, 0,1,2,3,4,5,6,7\n"
			 "movq 8*\\n(%[a]), %%mm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3\n"
			 "paddb 8*\\n(%[b]), %%mm\\n\n"
			 ".endr\n"
			 ".irp n, 4,5,6,7\n"
			 "pmullw 8*\\n(%[b]), %%mm\\n\n"
			 ".endr\n"
			 "syscall\n"
			 ".irp n, 0,1,2,3\n"
			 "psubb 8*\\n(%[a]), %%mm\\n\n"
			 ".endr\n"
			 ".irp n, 4,5,6,7\n"
			 "psubw 8*\\n(%[a]), %%mm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "movq %%mm\\n, 8*\\n(%[out])\n"
			 ".endr\n"
			 "emms\n"
			 : "+a"(result)
			 : "D"(&none), "S"(8UL), [a] "r"(a), [b] "r"(b), [out] "r"(out)
			 : "rcx", "r11", "memory", "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7",
			   "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
	CHECK(!wait || result == -EINTR, "sigsuspend returned %ld", result);
}

int main(int argc, char **argv)
{
	unsigned char a[8][8], b[8][8], out[8][8];
	uint16_t x, y, z;
	sigset_t term;

	test_init(argc, argv);
	test_fill(a, sizeof(a), 1);
	test_fill(b, sizeof(b), 2);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	calculate(a, b, out, true);
	CHECK(!memcmp(out, b, 4 * 8), "the bytes of mm0-3 are not what they were");
	for (int n = 4; n < 8; n++)
		for (int i = 0; i < 8; i += 2) {
			memcpy(&x, &a[n][i], 2);
			memcpy(&y, &b[n][i], 2);
			memcpy(&z, &out[n][i], 2);
			CHECK(z == (uint16_t)(x * y - x), "word %d of mm%d is %x", i / 2, n, z);
		}
	pass();
}
