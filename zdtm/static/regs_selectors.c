/*
 * title: the selectors in ds and es, which only 32-bit code would need
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <asm/ldt.h>
#include <sys/mman.h>

/* A descriptor that everybody has, and the second one that a thread may have for itself (asm/segment.h). */
enum { EVERYBODYS = 5 << 3 | 3, OWN_ENTRY = 13, OWN = OWN_ENTRY << 3 | 3 };

/* A system call of 32-bit code, which takes a 32-bit address. */
static int set_thread_area(const struct user_desc *descriptor)
{
	struct user_desc *low = SYS(mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	long result = 243;

	*low = *descriptor;
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(low) : "memory", "r8", "r9", "r10", "r11");
	SYS(munmap(low, sizeof(*low)));
	return (int)result;
}

int main(int argc, char **argv)
{
	const struct user_desc descriptor = {.entry_number = OWN_ENTRY,
					     .base_addr = 0x1000,
					     .limit = 0xfffff,
					     .seg_32bit = 1,
					     .useable = 1};
	uint16_t ds = EVERYBODYS, es = OWN;
	int result;

	test_init(argc, argv);
	result = set_thread_area(&descriptor);
	if (result == -ENOSYS)
		skip("this kernel runs no 32-bit programs");
	CHECK(!result, "set_thread_area: %s", strerror(-result));
	__asm__ volatile("mov %0, %%ds; mov %1, %%es" : : "r"(ds), "r"(es));
	test_daemon();
	test_waitsig();
	__asm__ volatile("mov %%ds, %0; mov %%es, %1" : "=r"(ds), "=r"(es));
	CHECK(ds == EVERYBODYS, "ds is %x instead of %x", ds, EVERYBODYS);
	CHECK(es == OWN, "es is %x instead of %x", es, OWN);
	pass();
}
