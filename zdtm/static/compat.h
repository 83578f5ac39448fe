/* For tests of 32-bit programs: what they alone have. */
#ifndef COMPAT_H
#define COMPAT_H

#include <asm/ldt.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef __i386__
#error "to be compiled with -m32"
#endif

static inline uint32_t code_segment(void)
{
	uint32_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	return cs;
}

/* A segment of the calling thread's own (set_thread_area(2)) over this memory; returns its selector. */
static inline uint32_t segment_own(void *base, size_t size)
{
	struct user_desc desc = {
		.entry_number = -1,
		.base_addr = (uintptr_t)base,
		.limit = size - 1,
		.seg_32bit = 1,
		.useable = 1,
	};

	SYS(syscall(SYS_set_thread_area, &desc));
	return desc.entry_number << 3 | 3;
}

/* The head of the calling thread's robust list (get_robust_list(2)). */
static inline uint32_t *robust_list(uint32_t *len)
{
	uint32_t *head;

	SYS(syscall(SYS_get_robust_list, 0, &head, len));
	return head;
}

#endif
