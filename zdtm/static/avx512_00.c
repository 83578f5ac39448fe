/*
 * title: AVX-512 vector and mask registers survive while a task sleeps in the kernel
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx512 avx512bw
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

#define ALL_ZMM "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

struct registers {
	unsigned char zmm[32][64];
	uint64_t mask[8];
};

_Static_assert(offsetof(struct registers, mask) == 2048, "as in the assembly below");

__attribute__((target("avx512bw"))) static long sleep_with(const struct registers *load,
							   struct registers *store)
{
	static const sigset_t none;
	long result = SYS_rt_sigsuspend;

	__asm__ volatile(".irp n, " ALL_ZMM "\n"
			 "vmovdqu64 64*\\n(%[load]), %%zmm\\n\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "kmovq 2048+8*\\n(%[load]), %%k\\n\n"
			 ".endr\n"
			 "syscall\n"
			 ".irp n, " ALL_ZMM "\n"
			 "vmovdqu64 %%zmm\\n, 64*\\n(%[store])\n"
			 ".endr\n"
			 ".irp n, 0,1,2,3,4,5,6,7\n"
			 "kmovq %%k\\n, 2048+8*\\n(%[store])\n"
			 ".endr\n"
			 "vzeroupper\n"
			 : "+a"(result)
			 : "D"(&none), "S"(8UL), [load] "r"(load), [store] "r"(store)
			 : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
			   "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3",
			   "k4", "k5", "k6", "k7");
	return result;
}

int main(int argc, char **argv)
{
	static struct registers before, after;
	sigset_t term;
	long result;

	test_init(argc, argv);
	test_fill(&before, sizeof(before), 7);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	result = sleep_with(&before, &after);
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
	for (int i = 0; i < 32; i++)
		CHECK(!memcmp(after.zmm[i], before.zmm[i], 64), "zmm%d differs", i);
	for (int i = 0; i < 8; i++)
		CHECK(after.mask[i] == before.mask[i], "k%d is %lx instead of %lx", i, after.mask[i],
		      before.mask[i]);
	pass();
}
