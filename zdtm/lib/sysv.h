/* System V IPC: what the three kinds of objects have in common, for the tests of each (sysvipc(7)). */
#ifndef ZDTM_SYSV_H
#define ZDTM_SYSV_H

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "zdtm.h"

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *info;
};

static inline struct shmid_ds shm_stat(int id)
{
	struct shmid_ds stat;

	SYS(shmctl(id, IPC_STAT, &stat));
	return stat;
}

static inline struct semid_ds sem_stat(int id)
{
	struct semid_ds stat;

	SYS(semctl(id, 0, IPC_STAT, (union semun){.buf = &stat}));
	return stat;
}

static inline struct msqid_ds msg_stat(int id)
{
	struct msqid_ds stat;

	SYS(msgctl(id, IPC_STAT, &stat));
	return stat;
}

static inline int sem_change(int id, int number, int by, int flags)
{
	struct sembuf change = {
		.sem_num = (unsigned short)number, .sem_op = (short)by, .sem_flg = (short)flags};

	return semop(id, &change, 1);
}

/* The object's key, owner, creator and mode are what they were. */
static inline void ipc_perm_check(struct ipc_perm now, struct ipc_perm before, const char *what)
{
	CHECK(now.__key == before.__key, "%s: its key is %#x instead of %#x", what, now.__key, before.__key);
	CHECK(now.uid == before.uid && now.gid == before.gid, "%s: it is of user %u, group %u", what, now.uid,
	      now.gid);
	CHECK(now.cuid == before.cuid && now.cgid == before.cgid, "%s: made by user %u, group %u", what,
	      now.cuid, now.cgid);
	CHECK(now.mode == before.mode, "%s: its mode is %#o instead of %#o", what, now.mode, before.mode);
}

#endif
