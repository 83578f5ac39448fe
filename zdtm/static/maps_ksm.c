/*
 * title: pages that the kernel has merged hold what they held, and are parted by a write
 * flavours: host
 * flags: suid
 */
#include "memory.h"

#include <time.h>

enum { PAGES = 256, WAIT_MS = 5000 };

static const char run[] = "/sys/kernel/mm/ksm/run";

static void put(const char *path, const char *text)
{
	int fd = SYS(open(path, O_WRONLY | O_CLOEXEC));

	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %m", path);
	SYS(close(fd));
}

/* Merging is the work of a thread of the kernel, for all processes of the machine. */
static bool merge(void)
{
	const struct timespec while_it_works = {0, 10000000};
	char *before = test_read_file(run, NULL);
	long end = test_now_ms() + WAIT_MS;
	bool merged = false;

	put(run, "1");
	while (!merged && test_now_ms() < end) {
		nanosleep(&while_it_works, NULL);
		merged = atol(test_read_file("/proc/self/ksm_merging_pages", NULL)) >= PAGES;
	}
	put(run, before);
	return merged;
}

int main(int argc, char **argv)
{
	unsigned char *memory;

	test_init(argc, argv);
	if (access(run, W_OK))
		skip("this kernel merges no pages (KSM)");
	memory = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mprotect(memory, PAGES * PAGE, RW));
	/* Four kinds of contents. */
	for (int i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE, 1, 1 + (uint32_t)i % 4);
	SYS(madvise(memory, PAGES * PAGE, MADV_MERGEABLE));
	CHECK(merge(), "nothing was merged within %d ms", WAIT_MS);
	test_daemon();
	test_waitsig();
	CHECK(has_flag(memory, "mg"), "it is not to be merged any more");
	for (int i = 0; i < PAGES; i++)
		pages_check(memory + i * PAGE, 1, 1 + (uint32_t)i % 4, "merged");
	pages_fill(memory, 1, 100);
	for (int i = 1; i < PAGES; i++)
		pages_check(memory + i * PAGE, 1, 1 + (uint32_t)i % 4, "after one was changed");
	pass();
}
