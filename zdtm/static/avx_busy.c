/*
 * title: AVX registers never show anything else to a task that looks at them all the time
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx2
 */
#include "zdtm.h"

#include <signal.h>

static volatile int stop;
static unsigned char pattern[14][32] __attribute__((aligned(32)));
static unsigned char seen[14][32] __attribute__((aligned(32)));

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/*
 * ymm0-13 hold their patterns all the time; ymm15 stays all ones as long as every byte equals its pattern.
 * Returns the rounds: one that saw anything else is the last one. The registers are stored then.
 */
static uint64_t watch(void)
{
	uint64_t rounds = 0;

	__asm__ volatile(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13\n"
			 "vmovdqa 32*\\n(%[pattern]), %%ymm\\n\n"
			 ".endr\n"
			 "1: inc %[rounds]\n"
			 "vpcmpeqb %%ymm15, %%ymm15, %%ymm15\n"
			 ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13\n"
			 "vpcmpeqb 32*\\n(%[pattern]), %%ymm\\n, %%ymm14\n"
			 "vpand %%ymm14, %%ymm15, %%ymm15\n"
			 ".endr\n"
			 "vpmovmskb %%ymm15, %%eax\n"
			 "cmp $-1, %%eax\n"
			 "jne 2f\n"
			 "cmpl $0, %[stop]\n"
			 "je 1b\n"
			 "2:\n"
			 ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13\n"
			 "vmovdqa %%ymm\\n, 32*\\n(%[seen])\n"
			 ".endr\n"
			 "vzeroupper\n"
			 : [rounds] "+r"(rounds)
			 : [pattern] "r"(pattern), [seen] "r"(seen), [stop] "m"(stop)
			 : "rax", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return rounds;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	uint64_t rounds;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	test_fill(pattern, sizeof(pattern), 3);
	test_daemon();
	rounds = watch();
	for (int n = 0; n < 14; n++)
		CHECK(!memcmp(seen[n], pattern[n], 32), "ymm%d was something else in round %lu", n, rounds);
	CHECK(stop, "a register was something else for a moment, in round %lu", rounds);
	pass();
}
