/*
 * title: a restartable sequence is aborted or committed, and never loses its descriptor
 * flavours: host ns userns
 * arch: x86_64
 * needs: get_rseq_conf
 */
#include "zdtm.h"

#include <stdio.h>
#include <sys/rseq.h>

enum outcome { COMMITTED, ABORTED, LOST };

/*
 * A sequence that is long enough for the dump to fall into. At its end it looks whether the kernel still
 * knows of it: whoever made a detour through the thread without running the abort handler has made the kernel
 * forget.
 */
static enum outcome section(struct rseq *area, unsigned long rounds)
{
	__asm__ goto(".pushsection .data.rel.local, \"aw\"\n"
		     ".balign 32\n"
		     "3: .long 0, 0\n"
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
		       [signature] "i"(RSEQ_SIG)
		     : "rax", "memory", "cc"
		     : committed, aborted, lost);
committed:
	return COMMITTED;
aborted:
	return ABORTED;
lost:
	return LOST;
}

int main(int argc, char **argv)
{
	struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	unsigned long count[3] = {0};

	test_init(argc, argv);
	if (!__rseq_size)
		skip("the C library has registered no rseq area");
	test_daemon();
	while (test_go() || !count[COMMITTED])
		count[section(area, 200000)]++;
	test_msg("%lu committed, %lu aborted, %lu lost\n", count[COMMITTED], count[ABORTED], count[LOST]);
	CHECK(!count[LOST], "%lu sequences lost their descriptor without an abort", count[LOST]);
	pass();
}
