/* One segment of System V shared memory by its id, its key and an attachment, before a dump and after. */
#include "memory.h"
#include "sysv.h"

static _Noreturn void shm_run(size_t size, int flags)
{
	key_t key = 0x5a3b0000 | (key_t)(size & 0xffff);
	unsigned char *memory, *again;
	struct shmid_ds before, now;
	int id = shmget(key, size, IPC_CREAT | IPC_EXCL | flags | 0640);

	if (id < 0 && flags && errno == ENOMEM)
		skip("there are not enough huge pages");
	CHECK(id >= 0, "shmget: %m");
	memory = SYS(shmat(id, NULL, 0));
	test_fill(memory, size, 1);
	before = shm_stat(id);
	test_daemon();
	test_waitsig();
	now = shm_stat(id);
	ipc_perm_check(now.shm_perm, before.shm_perm, "the segment");
	CHECK(now.shm_segsz == size, "it has %zu bytes instead of %zu", now.shm_segsz, size);
	CHECK(now.shm_nattch == 1, "it is attached %lu times", now.shm_nattch);
	CHECK(test_differs(memory, size, 1) < 0, "offset %ld differs", test_differs(memory, size, 1));
	CHECK(!flags == !has_flag(memory, "ht"), "its pages are of another kind");
	CHECK(shmget(key, size, 0) == id, "the key leads to another segment");
	again = SYS(shmat(SYS(shmget(key, 0, 0)), NULL, 0));
	CHECK(test_differs(again, size, 1) < 0, "attached by its key, offset %ld differs",
	      test_differs(again, size, 1));
	test_fill(again, size, 2);
	CHECK(test_differs(memory, size, 2) < 0, "both attachments are of two segments");
	SYS(shmdt(again));
	CHECK(shm_stat(id).shm_nattch == 1, "an attachment was counted twice");
	SYS(shmdt(memory));
	CHECK(shm_stat(id).shm_nattch == 0, "without attachments it has %lu", shm_stat(id).shm_nattch);
	SYS(shmctl(id, IPC_RMID, NULL));
	CHECK(shmget(key, 0, 0) == -1 && errno == ENOENT, "it cannot be removed");
	SYS(shmctl(SYS(shmget(key, size, IPC_CREAT | IPC_EXCL | flags | 0640)), IPC_RMID, NULL));
	pass();
}
