/*
 * title: a sequence that says that nothing restarts it is never aborted (kernels before 6.0 know the flags)
 * flavours: host
 * flags: noauto
 * arch: x86_64
 * needs: get_rseq_conf
 */
#include "zdtm.h"

#include <signal.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <sys/wait.h>
#include <unistd.h>

enum outcome { COMMITTED, ABORTED, LOST };

/* All of RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT, _SIGNAL and _MIGRATE. */
#define NO_RESTART 7

/* As in rseq01, but with flags: neither an abort nor a descriptor that the kernel has forgotten is right. */
static enum outcome section(struct rseq *area, unsigned long rounds)
{
	__asm__ goto(".pushsection .data.rel.local, \"aw\"\n"
		     ".balign 32\n"
		     "3: .long 0, %c[flags]\n"
		     ".quad 1f, 2f - 1f, 4f\n"
		     ".popsection\n"
		     "lea 3b(%%rip), %%rax\n"
		     "mov %%rax, %c[cs](%[area])\n"
		     "1: dec %[rounds]\n"
		     "jnz 1b\n"
		     "cmpq $0, %c[cs](%[area])\n"
		     "2: je %l[lost]\n"
		     "movq $0, %c[cs](%[area])\n"
		     "jmp %l[committed]\n"
		     ".byte 0x0f, 0xb9, 0x3d\n"
		     ".long %c[signature]\n"
		     "4: jmp %l[aborted]\n"
		     :
		     : [area] "r"(area), [rounds] "r"(rounds), [cs] "i"(offsetof(struct rseq, rseq_cs)),
		       [signature] "i"(RSEQ_SIG), [flags] "i"(NO_RESTART)
		     : "rax", "memory", "cc"
		     : committed, aborted, lost);
committed:
	return COMMITTED;
aborted:
	return ABORTED;
lost:
	return LOST;
}

/* Newer kernels kill who uses the flags, as soon as they look at the descriptor. */
static bool flags_are_known(struct rseq *area)
{
	int status;
	pid_t child = SYS(fork());

	if (!child) {
		for (int i = 0; i < 200; i++)
			if (section(area, 2000000) == ABORTED)
				_exit(1);
		_exit(0);
	}
	SYS(waitpid(child, &status, 0));
	return !status;
}

int main(int argc, char **argv)
{
	struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	unsigned long count[3] = {0};

	test_init(argc, argv);
	if (!__rseq_size)
		skip("the C library has registered no rseq area");
	if (!flags_are_known(area))
		skip("this kernel does not know the flags of sequences that are not restarted");
	area->flags = NO_RESTART;
	test_daemon();
	while (test_go() || !count[COMMITTED])
		count[section(area, 200000)]++;
	test_msg("%lu committed, %lu aborted, %lu lost\n", count[COMMITTED], count[ABORTED], count[LOST]);
	CHECK(!count[ABORTED], "%lu sequences were aborted", count[ABORTED]);
	CHECK(!count[LOST], "%lu sequences lost their descriptor", count[LOST]);
	pass();
}
