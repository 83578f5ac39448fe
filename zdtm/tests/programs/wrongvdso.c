/* The vdso of a kernel that never was: the same names elsewhere, and all of it wrong. ALIGN is that of a
 * function. */
__asm__(".space 512");

#define WRONG(name)                                     \
	__attribute__((aligned(ALIGN))) int name(void); \
	int name(void)                                  \
	{                                               \
		return 4711;                            \
	}

WRONG(__vdso_getcpu)
WRONG(__vdso_time)
WRONG(__vdso_own)
WRONG(__vdso_gettimeofday)
WRONG(__vdso_clock_gettime)
