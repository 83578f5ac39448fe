/*
 * title: a segment that was removed while attached lives on for those who have it, and ends with them
 * flavours: ns userns
 */
#include "child.h"
#include "memory.h"
#include "sysv.h"

enum { PAGES = 20 };

int main(int argc, char **argv)
{
	unsigned char *memory, *other;
	struct shmid_ds before;
	int id, stays, again;
	pid_t child;

	test_init(argc, argv);
	stays = SYS(shmget(0x1111, 3 * PAGE, IPC_CREAT | IPC_EXCL | 0600));
	id = SYS(shmget(0x2222, PAGES * PAGE, IPC_CREAT | IPC_EXCL | 0620));
	memory = SYS(shmat(id, NULL, 0));
	pages_fill(memory, PAGES, 5);
	/* Nobody has it attached: it is there all the same. */
	other = SYS(shmat(stays, NULL, 0));
	pages_fill(other, 3, 50);
	SYS(shmdt(other));
	child = child_fork();
	if (!child) {
		SYS(munmap(memory, 10 * PAGE));
		child_wait();
		pages_check(memory + 10 * PAGE, 10, 15, "child");
		pages_fill(memory + 12 * PAGE, 1, 70);
		SYS(shmdt(memory)); /* what is left of it */
		_exit(0);
	}
	child_await();
	SYS(shmctl(id, IPC_RMID, NULL));
	/* Another one has its key now. */
	again = SYS(shmget(0x2222, PAGE, IPC_CREAT | IPC_EXCL | 0600));
	before = shm_stat(id);
	CHECK(before.shm_nattch == 2, "attached %lu times", before.shm_nattch);
	test_daemon();
	test_waitsig();
	ipc_perm_check(shm_stat(id).shm_perm, before.shm_perm, "the removed one");
	CHECK(shm_stat(id).shm_perm.mode & SHM_DEST, "it is there for good");
	CHECK(shm_stat(id).shm_nattch == 2, "attached %lu times after", shm_stat(id).shm_nattch);
	CHECK(shmget(0x2222, 0, 0) == again, "its key leads to it again");
	pages_check(memory, PAGES, 5, "parent");
	child_go();
	test_reap(child);
	CHECK(page_is(memory + 12 * PAGE, 70), "the child had another segment");
	CHECK(shm_stat(id).shm_nattch == 1, "attached %lu times without the child", shm_stat(id).shm_nattch);
	SYS(shmdt(memory));
	CHECK(shmctl(id, IPC_STAT, &before) == -1 && errno == EINVAL,
	      "without attachments it is still there");
	CHECK(shm_stat(stays).shm_nattch == 0, "the other one is attached");
	other = SYS(shmat(stays, NULL, 0));
	pages_check(other, 3, 50, "what nobody had attached");
	pass();
}
