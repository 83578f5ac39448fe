/* Registers over a system call: all that the kernel keeps hold values of the test when the call is made. */
#ifndef ZDTM_REGISTERS_H
#define ZDTM_REGISTERS_H

#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

struct held {
	uint64_t general[5];
	uint64_t x87[3];
	unsigned char vector[16][32]; /* the upper halves with AVX only */
};

static inline bool held_upper_halves(void)
{
#ifdef __x86_64__
	return __builtin_cpu_supports("avx");
#else
	return false;
#endif
}

static inline void held_fill(struct held *held, uint32_t seed)
{
	test_fill(held, sizeof(*held), seed);
	for (int i = 0; i < 16 && !held_upper_halves(); i++)
		memset(held->vector[i] + 16, 0, 16);
}

#ifdef __x86_64__
#define HELD_CALL(move, name)                                                                                \
	__asm__ volatile(".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" move                               \
			 " %c[v]+32*\\i(%[in]), %%" name "\\i\n"                                             \
			 ".endr\n"                                                                           \
			 "mov 0(%[in]), %%rbx; mov 8(%[in]), %%r12; mov 16(%[in]), %%r13\n"                  \
			 "mov 24(%[in]), %%r14; mov 32(%[in]), %%r15\n"                                      \
			 "fildll 40(%[in]); fildll 48(%[in]); fildll 56(%[in])\n"                            \
			 "syscall\n"                                                                         \
			 "fistpll 56(%[out]); fistpll 48(%[out]); fistpll 40(%[out])\n"                      \
			 "mov %%rbx, 0(%[out]); mov %%r12, 8(%[out]); mov %%r13, 16(%[out])\n"               \
			 "mov %%r14, 24(%[out]); mov %%r15, 32(%[out])\n"                                    \
			 ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" move " %%" name                    \
			 "\\i, %c[v]+32*\\i(%[out])\n"                                                       \
			 ".endr\n"                                                                           \
			 : "+a"(result)                                                                      \
			 : [in] "r"(in), [out] "r"(out), [v] "i"(offsetof(struct held, vector)), "D"(a),     \
			   "S"(b), "d"(c), "r"(fourth)                                                       \
			 : "rbx", "rcx", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0", "xmm1",  \
			   "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
			   "xmm12", "xmm13", "xmm14", "xmm15")
#endif

/*
 * Make a call of three arguments (and a fourth, 0) with these registers; what they are afterwards goes to
 * `after`. Returns what the kernel does: a value or -errno.
 */
static inline long held_call(long number, long a, long b, long c, const struct held *before,
			     struct held *after)
{
#ifdef __x86_64__
	register const struct held *in __asm__("r8") = before;
	register struct held *out __asm__("r9") = after;
	register long fourth __asm__("r10") = 0;
	long result = number;

	if (held_upper_halves())
		HELD_CALL("vmovdqu", "ymm");
	else
		HELD_CALL("movdqu", "xmm");
	return result;
#else
	/* Elsewhere what the compiler keeps in registers has to do. */
	long result = syscall(number, a, b, c, 0);

	*after = *before;
	return result < 0 ? -errno : result;
#endif
}

static inline void held_check(const struct held *before, const struct held *after, const char *who)
{
	for (int i = 0; i < 5; i++)
		CHECK(before->general[i] == after->general[i], "%s: general register %d is %#llx, not %#llx",
		      who, i, (long long)after->general[i], (long long)before->general[i]);
	for (int i = 0; i < 3; i++)
		CHECK(before->x87[i] == after->x87[i], "%s: x87 register %d is %#llx, not %#llx", who, i,
		      (long long)after->x87[i], (long long)before->x87[i]);
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < (held_upper_halves() ? 32 : 16); j++)
			CHECK(before->vector[i][j] == after->vector[i][j],
			      "%s: byte %d of vector register %d is %#x, not %#x", who, j, i,
			      after->vector[i][j], before->vector[i][j]);
}

#endif
