/*
 * title: two children and their parent take turns by a semaphore in filling shared memory: it is never torn
 * flavours: ns
 */
#include <signal.h>

#include "memory.h"
#include "sysv.h"

enum { PAGES = 8, CHILDREN = 2, ENOUGH = 20 };

struct words {
	uint32_t stop;
	uint32_t rounds[CHILDREN + 1];
};

/* All pages have what the last one of them wrote. */
static bool turn(int sem, unsigned char *memory, uint32_t *count, uint32_t who)
{
	uint32_t *seed = (uint32_t *)memory;
	bool whole;

	SYS(sem_change(sem, 0, -1, SEM_UNDO));
	whole = test_differs(memory + PAGE, (PAGES - 1) * PAGE, *seed) < 0;
	*seed = *seed * 3 + who;
	test_fill(memory + PAGE, (PAGES - 1) * PAGE, *seed);
	++*count;
	SYS(sem_change(sem, 0, 1, SEM_UNDO));
	return whole;
}

/* The signal that ends the test comes between two turns: semop(2) does not go on behind a handler. */
static bool own_turn(int sem, unsigned char *memory, struct words *words)
{
	sigset_t mask, old;
	bool whole;

	SYS(sigemptyset(&mask));
	SYS(sigaddset(&mask, SIGTERM));
	SYS(sigprocmask(SIG_BLOCK, &mask, &old));
	whole = turn(sem, memory, &words->rounds[CHILDREN], CHILDREN);
	SYS(sigprocmask(SIG_SETMASK, &old, NULL));
	return whole;
}

int main(int argc, char **argv)
{
	pid_t children[CHILDREN];
	struct words *words;
	uint32_t before;
	int sem, shm;
	unsigned char *memory;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	sem = SYS(semget(0x123, 1, IPC_CREAT | IPC_EXCL | 0600));
	shm = SYS(shmget(0x123, PAGES * PAGE, IPC_CREAT | IPC_EXCL | 0600));
	memory = SYS(shmat(shm, NULL, 0));
	test_fill(memory + PAGE, (PAGES - 1) * PAGE, 0);
	SYS(sem_change(sem, 0, 1, 0));
	for (uint32_t i = 0; i < CHILDREN; i++) {
		children[i] = SYS(fork());
		if (children[i])
			continue;
		while (!__atomic_load_n(&words->stop, __ATOMIC_SEQ_CST))
			CHECK(turn(sem, memory, &words->rounds[i], i), "child %u: the memory is torn", i);
		_exit(0);
	}
	test_daemon();
	while (test_go())
		CHECK(own_turn(sem, memory, words), "the memory is torn");
	before = __atomic_load_n(&words->rounds[0], __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&words->rounds[0], __ATOMIC_SEQ_CST) < before + ENOUGH)
		CHECK(own_turn(sem, memory, words), "the memory is torn");
	__atomic_store_n(&words->stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < CHILDREN; i++)
		test_reap(children[i]);
	CHECK(semctl(sem, 0, GETVAL) == 1, "the semaphore is %d", semctl(sem, 0, GETVAL));
	pass();
}
