/*
 * title: IPC objects belong to whom they were given, and are locked if they were
 * flavours: ns userns
 * flags: suid
 */
#include "memory.h"
#include "sysv.h"

int main(int argc, char **argv)
{
	struct shmid_ds shm, was;
	struct semid_ds sem;
	struct msqid_ds msg;
	unsigned char *memory;
	int ids[3];

	test_init(argc, argv);
	/* Made by one, given to another. */
	SYS(setresgid(1001, 1001, 0));
	SYS(setresuid(1000, 1000, 0));
	ids[0] = SYS(shmget(1, 3 * PAGE, IPC_CREAT | 0700));
	ids[1] = SYS(semget(1, 2, IPC_CREAT | 0700));
	ids[2] = SYS(msgget(1, IPC_CREAT | 0700));
	SYS(setresuid(0, 0, 0));
	SYS(setresgid(0, 0, 0));
	shm = shm_stat(ids[0]);
	sem = sem_stat(ids[1]);
	msg = msg_stat(ids[2]);
	shm.shm_perm.uid = sem.sem_perm.uid = msg.msg_perm.uid = 20002;
	shm.shm_perm.gid = sem.sem_perm.gid = msg.msg_perm.gid = 3003;
	shm.shm_perm.mode = 0642;
	sem.sem_perm.mode = 0426;
	msg.msg_perm.mode = 0;
	SYS(shmctl(ids[0], IPC_SET, &shm));
	SYS(semctl(ids[1], 0, IPC_SET, (union semun){.buf = &sem}));
	SYS(msgctl(ids[2], IPC_SET, &msg));
	memory = SYS(shmat(ids[0], NULL, 0));
	pages_fill(memory, 3, 3);
	SYS(sem_change(ids[1], 1, 3, 0));
	SYS(shmctl(ids[0], SHM_LOCK, NULL));
	was = shm_stat(ids[0]);
	CHECK(was.shm_perm.mode & SHM_LOCKED, "it is not locked");
	shm = was;
	sem = sem_stat(ids[1]);
	msg = msg_stat(ids[2]);
	test_daemon();
	test_waitsig();
	was = shm_stat(ids[0]);
	ipc_perm_check(was.shm_perm, shm.shm_perm, "the segment");
	ipc_perm_check(sem_stat(ids[1]).sem_perm, sem.sem_perm, "the semaphores");
	ipc_perm_check(msg_stat(ids[2]).msg_perm, msg.msg_perm, "the queue");
	pages_check(memory, 3, 3, "its pages");
	CHECK(semctl(ids[1], 1, GETVAL) == 3, "the semaphore is another");
	SYS(shmctl(ids[0], SHM_UNLOCK, NULL));
	CHECK(!(shm_stat(ids[0]).shm_perm.mode & SHM_LOCKED), "it cannot be unlocked");
	pass();
}
