/*
 * title: who refused to have code that is writable refuses still, and its children by their own word
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#define PR_GET_MDWE		 66
#endif
#define PR_MDWE_NO_INHERIT_BIT (1UL << 1)

enum { PAGE = 4096, TASKS = 3 };

static const unsigned long wanted[TASKS] = {
	PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT_BIT,
	PR_MDWE_REFUSE_EXEC_GAIN,
	0,
};
/* Made before: readable and executable; once writable and executable. */
static unsigned char *code, *both;

static void check(int task)
{
	void *fresh;

	CHECK((unsigned long)SYS(prctl(PR_GET_MDWE, 0, 0, 0, 0)) == wanted[task],
	      "task %d: it is %#x instead of %#lx", task, prctl(PR_GET_MDWE, 0, 0, 0, 0), wanted[task]);
	fresh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK((fresh == MAP_FAILED) == (wanted[task] != 0), "task %d: code that is writable: %p", task,
	      fresh);
	CHECK(fresh != MAP_FAILED || errno == EACCES, "task %d: %m", task);
	fresh = SYS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	CHECK((mprotect(fresh, PAGE, PROT_READ | PROT_EXEC) == -1) == (wanted[task] != 0),
	      "task %d: gained code", task);
	both[0] = code[0];
	CHECK(test_differs(code + 1, 100, 5) < 0, "task %d: contents", task);
}

int main(int argc, char **argv)
{
	pid_t children[TASKS - 1];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	code = SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(code + 1, 100, 5);
	SYS(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
	both = SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	SYS(prctl(PR_SET_MDWE, wanted[0], 0, 0, 0));
	for (int i = 1; i < TASKS; i++) {
		children[i - 1] = SYS(fork());
		if (children[i - 1])
			continue;
		if (wanted[i])
			SYS(prctl(PR_SET_MDWE, wanted[i], 0, 0, 0));
		test_post(&words[0]);
		test_await(&words[1], 1);
		check(i);
		_exit(0);
	}
	test_await(&words[0], TASKS - 1);
	test_daemon();
	test_waitsig();
	check(0);
	test_post(&words[1]);
	for (int i = 1; i < TASKS; i++)
		test_reap(children[i - 1]);
	pass();
}
