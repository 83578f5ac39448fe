/*
 * title: personalities are each process's own and do what they did; memory stays protected as it was
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <unistd.h>

static const unsigned long settings[] = {
	ADDR_NO_RANDOMIZE,
	READ_IMPLIES_EXEC | SHORT_INODE,
	UNAME26 | WHOLE_SECONDS | STICKY_TIMEOUTS | ADDR_COMPAT_LAYOUT,
	0,
};
enum { COUNT = sizeof(settings) / sizeof(*settings) };

static bool is_executable(const void *at)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;

	CHECK(maps, "/proc/self/maps: %m");
	while (fgets(line, sizeof(line), maps)) {
		char *rest;
		unsigned long start = strtoul(line, &rest, 16), end = strtoul(rest + 1, &rest, 16);

		if ((unsigned long)at >= start && (unsigned long)at < end)
			found = rest[3] == 'x';
	}
	fclose(maps);
	return found;
}

static void body(unsigned long wanted, uint32_t *words)
{
	void *before = SYS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), *after;
	int now;
	struct utsname kernel;

	SYS(personality(wanted));
	test_post(&words[0]);
	test_await(&words[1], 1);
	now = SYS(personality(0xffffffff));
	CHECK((unsigned long)now == wanted, "%#x instead of %#lx", now, wanted);
	after = SYS(mmap(NULL, 8192, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	CHECK(!is_executable(before), "%#lx: what was mapped readable is executable now", wanted);
	CHECK(is_executable(after) == !!(wanted & READ_IMPLIES_EXEC),
	      "%#lx: readable means something else now", wanted);
	SYS(uname(&kernel));
	CHECK(!strncmp(kernel.release, "2.6.", 4) == !!(wanted & UNAME26), "%#lx: the kernel is %s", wanted,
	      kernel.release);
}

int main(int argc, char **argv)
{
	pid_t children[COUNT];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	for (int i = 0; i < COUNT; i++) {
		children[i] = SYS(fork());
		if (!children[i]) {
			body(settings[i], words);
			_exit(0);
		}
	}
	SYS(personality(ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO));
	test_await(&words[0], COUNT);
	test_daemon();
	test_waitsig();
	CHECK(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO), "the test's own is %#x",
	      personality(0xffffffff));
	test_post(&words[1]);
	for (int i = 0; i < COUNT; i++)
		test_reap(children[i]);
	pass();
}
