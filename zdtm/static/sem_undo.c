/*
 * title: what a process is to undo at its end (SEM_UNDO) is undone
 * flavours: ns userns
 */
#include "child.h"
#include "sysv.h"

enum { COUNT = 4 };

static void take(int id)
{
	SYS(sem_change(id, 0, -3, SEM_UNDO));
	SYS(sem_change(id, 2, 5, SEM_UNDO));
	SYS(sem_change(id, 2, -2, SEM_UNDO));
	SYS(sem_change(id, 3, -1, 0));
	SYS(sem_change(id, 1, 4, SEM_UNDO));
}

int main(int argc, char **argv)
{
	static const unsigned short start[COUNT] = {10, 20, 30, 40}, held[COUNT] = {7, 0, 33, 39},
				    after[COUNT] = {10, 6, 30, 39};
	unsigned short now[COUNT];
	pid_t child;
	int id;

	test_init(argc, argv);
	id = SYS(semget(IPC_PRIVATE, COUNT, 0600));
	SYS(semctl(id, 0, SETALL, (union semun){.array = (unsigned short *)start}));
	child = child_fork();
	if (!child) {
		take(id);
		child_wait();
		_exit(0);
	}
	child_await();
	SYS(sem_change(id, 1, -24,
		       0)); /* what the child gave is gone: at its end nothing can be taken back */
	test_daemon();
	test_waitsig();
	SYS(semctl(id, 0, GETALL, (union semun){.array = now}));
	for (int i = 0; i < COUNT; i++)
		CHECK(now[i] == held[i], "semaphore %d is %u instead of %u", i, now[i], held[i]);
	SYS(sem_change(id, 1, 10, 0)); /* unless there is something again */
	child_go();
	test_reap(child);
	SYS(semctl(id, 0, GETALL, (union semun){.array = now}));
	for (int i = 0; i < COUNT; i++)
		CHECK(now[i] == after[i], "afterwards %d is %u instead of %u", i, now[i], after[i]);
	pass();
}
