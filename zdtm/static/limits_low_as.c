/*
 * title: a process that has used up its limit on address space is refused, and goes on with what it has
 * flavours: host ns userns
 * flags: crfail
 */
#include "zdtm.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SIZE = 8 << 20 };

int main(int argc, char **argv)
{
	struct rlimit before, now;
	uint32_t *words;
	char *memory;
	pid_t child;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	child = SYS(fork());
	if (!child) {
		memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		test_fill(memory, SIZE, 1);
		SYS(getrlimit(RLIMIT_AS, &before));
		before.rlim_cur = 1 << 20;
		SYS(setrlimit(RLIMIT_AS, &before));
		test_post(&words[0]);
		test_await(&words[1], 1);
		SYS(getrlimit(RLIMIT_AS, &now));
		CHECK(now.rlim_cur == before.rlim_cur && now.rlim_max == before.rlim_max,
		      "the limit is %lu/%lu instead of %lu/%lu", now.rlim_cur, now.rlim_max, before.rlim_cur,
		      before.rlim_max);
		CHECK(test_differs(memory, SIZE, 1) < 0, "the memory differs");
		CHECK(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
			      errno == ENOMEM,
		      "it gets more");
		_exit(0);
	}
	test_await(&words[0], 1);
	test_daemon();
	test_waitsig();
	test_post(&words[1]);
	test_reap(child);
	pass();
}
