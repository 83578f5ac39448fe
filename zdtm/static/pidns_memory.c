/*
 * title: memory of tasks in pid namespaces, enough for a live dump to clone them, and no child is seen
 * flavours: ns userns
 * flags: suid
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "pidns.h"

#define SIZE (12 << 20)

int main(int argc, char **argv)
{
	void *memory;
	pid_t first;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory, SIZE, 1);
	first = pidns_fork(CLONE_NEWPID);
	if (!first) {
		test_fill(memory, SIZE, 2);
		child_wait();
		CHECK(test_differs(memory, SIZE, 2) < 0, "byte %ld differs", test_differs(memory, SIZE, 2));
		CHECK(waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD, "a child of the first process");
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	CHECK(test_differs(memory, SIZE, 1) < 0, "byte %ld differs", test_differs(memory, SIZE, 1));
	child_go();
	CHECK(waitpid(-1, NULL, __WALL) == first, "another child");
	CHECK(waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD, "one more child");
	pass();
}
