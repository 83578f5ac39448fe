/*
 * title: semaphores have their values, by id and by key, and can be used
 * flavours: ns userns
 */
#include "sysv.h"

enum { COUNT = 10 };

int main(int argc, char **argv)
{
	unsigned short values[COUNT], now[COUNT];
	key_t key = 0x5e3a0001;
	struct semid_ds before;
	int id;

	test_init(argc, argv);
	id = SYS(semget(key, COUNT, IPC_CREAT | IPC_EXCL | 0640));
	test_fill(values, sizeof(values), 7);
	for (int i = 0; i < COUNT; i++)
		values[i] &= 0x7fff;
	values[0] = 0;
	values[COUNT - 1] = 0x7fff; /* SEMVMX */
	SYS(semctl(id, 0, SETALL, (union semun){.array = values}));
	before = sem_stat(id);
	test_daemon();
	test_waitsig();
	CHECK(semget(key, COUNT, 0) == id, "the key leads to another set");
	ipc_perm_check(sem_stat(id).sem_perm, before.sem_perm, "the set");
	CHECK(sem_stat(id).sem_nsems == COUNT, "it has another number of semaphores");
	SYS(semctl(id, 0, GETALL, (union semun){.array = now}));
	for (int i = 0; i < COUNT; i++)
		CHECK(now[i] == values[i], "semaphore %d is %u instead of %u", i, now[i], values[i]);
	CHECK(sem_change(id, 0, -1, IPC_NOWAIT) == -1 && errno == EAGAIN, "the first one can be lowered");
	CHECK(sem_change(id, COUNT - 1, 1, IPC_NOWAIT) == -1 && errno == ERANGE,
	      "the last one can be raised");
	for (int i = 1; i < COUNT; i++)
		if (values[i])
			SYS(sem_change(id, i, -values[i], IPC_NOWAIT));
	SYS(sem_change(id, 3, 5, 0));
	CHECK(semctl(SYS(semget(key, 0, 0)), 3, GETVAL) == 5, "what was raised by id is not by key");
	SYS(semctl(id, 0, IPC_RMID));
	CHECK(semget(key, 0, 0) == -1 && errno == ENOENT, "it cannot be removed");
	SYS(semget(key, 2, IPC_CREAT | IPC_EXCL | 0600));
	pass();
}
