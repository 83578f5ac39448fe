/*
 * Restartable sequences through checkpoints: rseq(2).
 *
 * A case defines RSEQ_FLAGS, what the descriptor of its sequence says; 0 for nothing.
 */
#ifndef ZDTM_RSEQ_H
#define ZDTM_RSEQ_H

#include <stdio.h>
#include <sys/rseq.h>

#include "zdtm.h"

enum outcome { COMMITTED, ABORTED, LOST, OUTCOMES };

/*
 * A sequence that is long enough for the dump to fall into. At its end it looks whether the kernel still
 * knows of it: whoever made a detour through the thread without running the abort handler has made the kernel
 * forget.
 */
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
		       [signature] "i"(RSEQ_SIG), [flags] "i"(RSEQ_FLAGS)
		     : "rax", "memory", "cc"
		     : committed, aborted, lost);
committed:
	return COMMITTED;
aborted:
	return ABORTED;
lost:
	return LOST;
}

/* The area of this thread. */
static struct rseq *rseq_area(void)
{
	if (!__rseq_size)
		skip("the C library has registered no rseq area");
	return (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Sequences, one after the other, until the test has to end: how many came to which outcome. */
static void rseq_run(struct rseq *area, unsigned long count[OUTCOMES])
{
	test_daemon();
	while (test_go() || !count[COMMITTED])
		count[section(area, 200000)]++;
	test_msg("%lu committed, %lu aborted, %lu lost\n", count[COMMITTED], count[ABORTED], count[LOST]);
	CHECK(!count[LOST], "%lu sequences lost their descriptor without an abort", count[LOST]);
}

#endif
