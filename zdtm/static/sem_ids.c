/*
 * title: ids of IPC objects come back with gaps and sequence numbers, whatever was removed between them
 * flavours: ns userns
 */
#include "sysv.h"

enum { KINDS = 3, COUNT = 6, ROUNDS = 4 };

static int make(int kind, key_t key)
{
	if (kind == 0)
		return SYS(semget(key, 1 + key % 3, IPC_CREAT | IPC_EXCL | 0600));
	if (kind == 1)
		return SYS(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
	return SYS(shmget(key, 4096UL * (1 + (size_t)key % 3), IPC_CREAT | IPC_EXCL | 0600));
}

static int find(int kind, key_t key)
{
	return kind == 0 ? semget(key, 0, 0) : kind == 1 ? msgget(key, 0) : shmget(key, 0, 0);
}

static void end(int kind, int id)
{
	if (kind == 0)
		SYS(semctl(id, 0, IPC_RMID));
	else if (kind == 1)
		SYS(msgctl(id, IPC_RMID, NULL));
	else
		SYS(shmctl(id, IPC_RMID, NULL));
}

int main(int argc, char **argv)
{
	int ids[KINDS][COUNT];

	test_init(argc, argv);
	for (int kind = 0; kind < KINDS; kind++) {
		for (int i = 0; i < COUNT; i++)
			ids[kind][i] = make(kind, 100 + i);
		for (int round = 0; round < ROUNDS; round++)
			for (int i = round % 2; i < COUNT; i += 2 + kind) {
				end(kind, ids[kind][i]);
				ids[kind][i] = make(kind, 100 + i);
			}
		end(kind, ids[kind][0]);
		end(kind, ids[kind][3]);
	}
	test_daemon();
	test_waitsig();
	for (int kind = 0; kind < KINDS; kind++) {
		for (int i = 0; i < COUNT; i++) {
			int id = find(kind, 100 + i);

			if (i == 0 || i == 3)
				CHECK(id == -1 && errno == ENOENT, "kind %d: %d was removed", kind, i);
			else
				CHECK(id == ids[kind][i], "kind %d: %d has id %d instead of %d", kind, i, id,
				      ids[kind][i]);
		}
		/* What is made now gets an id of its own. */
		int id = make(kind, 1000);

		for (int i = 0; i < COUNT; i++)
			CHECK(i == 0 || i == 3 || id != ids[kind][i], "kind %d: an id was given twice", kind);
		end(kind, id);
	}
	pass();
}
