/*
 * title: the descriptors that a thread has set up, and bases that no descriptor has
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST = 12, LAST = 14 }; /* the GDT's entries for threads (asm/segment.h) */

/* Only 32-bit system calls set and tell these; they take 32-bit addresses. */
enum { set_thread_area = 243, get_thread_area = 244 };
static struct user_desc *low;

static unsigned int gs_word[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};

static int thread_area(int number, struct user_desc *descriptor)
{
	long result = number;

	*low = *descriptor;
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(low) : "memory", "r8", "r9", "r10", "r11");
	*descriptor = *low;
	errno = -(int)result;
	return (int)result < 0 ? -1 : 0;
}

static uint64_t base(int what)
{
	uint64_t value;

	SYS(syscall(SYS_arch_prctl, what, &value));
	return value;
}

/* Each its own base, limit and kind; the last one stays empty. */
static struct user_desc descriptor(unsigned int number)
{
	return (struct user_desc){.entry_number = number,
				  .base_addr = 0x10000u * number + 0x123,
				  .limit = 0x100 + number,
				  .seg_32bit = 1,
				  .contents = number == FIRST ? 0 : 1, /* grows up, or down */
				  .limit_in_pages = number == FIRST,
				  .useable = number != FIRST};
}

static void check_descriptor(unsigned int number)
{
	struct user_desc want = descriptor(number), got = {.entry_number = number};

	SYS(thread_area(get_thread_area, &got));
	CHECK(got.base_addr == want.base_addr, "GDT entry %u has base %x", number, got.base_addr);
	CHECK(got.limit == want.limit, "GDT entry %u has limit %x", number, got.limit);
	CHECK(got.seg_32bit == want.seg_32bit && got.contents == want.contents &&
		      got.read_exec_only == want.read_exec_only &&
		      got.limit_in_pages == want.limit_in_pages &&
		      got.seg_not_present == want.seg_not_present && got.useable == want.useable,
	      "GDT entry %u is of another kind", number);
}

int main(int argc, char **argv)
{
	const uint16_t first = FIRST << 3 | 3, second = (FIRST + 1) << 3 | 3;
	struct user_desc empty = {.entry_number = LAST};
	uint64_t fs_base;
	uint16_t fs, gs;
	unsigned int word;

	test_init(argc, argv);
	low = SYS(mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		       -1, 0));
	for (unsigned int number = FIRST; number < LAST; number++) {
		struct user_desc want = descriptor(number);

		if (thread_area(set_thread_area, &want) < 0 && errno == ENOSYS)
			skip("this kernel runs no 32-bit programs");
		CHECK(!errno, "set_thread_area: %s", strerror(errno));
		check_descriptor(number);
	}
	__asm__ volatile("mov %0, %%gs" : : "r"(first));
	CHECK(base(ARCH_GET_GS) == descriptor(FIRST).base_addr, "gs does not have its descriptor's base");
	__asm__ volatile("mov %0, %%gs" : : "r"(0));
	SYS(syscall(SYS_arch_prctl, ARCH_SET_GS, gs_word));
	fs_base = base(ARCH_GET_FS);
	test_daemon();
	test_waitsig();
	__asm__ volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(fs), "=r"(gs));
	CHECK(!fs && !gs, "fs and gs are %x and %x instead of 0", fs, gs);
	CHECK(base(ARCH_GET_FS) == fs_base, "the base of fs is %lx instead of %lx", base(ARCH_GET_FS),
	      fs_base);
	CHECK(base(ARCH_GET_GS) == (uint64_t)gs_word, "the base of gs is %lx instead of %p",
	      base(ARCH_GET_GS), (void *)gs_word);
	__asm__ volatile("mov %%gs:8, %0" : "=r"(word));
	CHECK(word == gs_word[2], "gs:8 is %x instead of %x", word, gs_word[2]);
	for (unsigned int number = FIRST; number < LAST; number++)
		check_descriptor(number);
	SYS(thread_area(get_thread_area, &empty));
	CHECK(empty.seg_not_present && !empty.base_addr && !empty.limit, "GDT entry %d is in use", LAST);
	__asm__ volatile("mov %0, %%gs" : : "r"(second));
	CHECK(base(ARCH_GET_GS) == descriptor(FIRST + 1).base_addr, "gs does not get its descriptor's base");
	pass();
}
