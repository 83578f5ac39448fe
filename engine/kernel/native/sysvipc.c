/* System V IPC (sysvipc(7)): objects of the IPC namespace that this process is in. All return -errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "native.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

static long result(long r)
{
	return r < 0 ? -errno : r;
}

long zd_shmget(int key, unsigned long size, int flags)
{
	return result(shmget(key, size, flags));
}

/* The address; those are never so high that they look like -errno. */
long zd_shmat(int id, int flags)
{
	return result((long)shmat(id, NULL, flags));
}

long zd_shmdt(unsigned long address)
{
	return result(shmdt((void *)address));
}

long zd_shmctl(int id, int command)
{
	return result(shmctl(id, command, NULL));
}

long zd_semget(int key, int count, int flags)
{
	return result(semget(key, count, flags));
}

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

/* Change one semaphore, without waiting and without undo. */
long zd_semop(int id, unsigned number, int op)
{
	struct sembuf change = {.sem_num = number, .sem_op = op, .sem_flg = IPC_NOWAIT};

	return result(semop(id, &change, 1));
}

/* All values of a set, out or in. */
long zd_sem_values(int id, unsigned short *values, int set)
{
	return result(semctl(id, 0, set ? SETALL : GETALL, (union semun){.array = values}));
}

long zd_msgget(int key, int flags)
{
	return result(msgget(key, flags));
}

/* A copy of message `index`, as msgrcv(2) returns it: its type, then its text; the length of that. */
long zd_msg_copy(int id, void *message, unsigned long most, long index)
{
	return result(msgrcv(id, message, most, index, MSG_COPY | IPC_NOWAIT));
}

/* How many bytes a queue holds at most. */
long zd_msg_qbytes(int id)
{
	struct msqid_ds msg;

	return msgctl(id, IPC_STAT, &msg) < 0 ? -errno : (long)msg.msg_qbytes;
}

long zd_msgsnd(int id, const void *message, unsigned long size)
{
	return result(msgsnd(id, message, size, IPC_NOWAIT));
}

static void own(struct ipc_perm *perm, unsigned uid, unsigned gid, unsigned mode)
{
	perm->uid = uid;
	perm->gid = gid;
	perm->mode = mode & 0777;
}

/* IPC_SET of an object of a kind ('s': semaphores, 'm': shared memory, 'q': a queue of so many bytes). */
long zd_ipc_set(char kind, int id, unsigned uid, unsigned gid, unsigned mode, unsigned long qbytes)
{
	if (kind == 's') {
		struct semid_ds sem = {0};

		own(&sem.sem_perm, uid, gid, mode);
		return result(semctl(id, 0, IPC_SET, (union semun){.buf = &sem}));
	}
	if (kind == 'm') {
		struct shmid_ds shm = {0};

		own(&shm.shm_perm, uid, gid, mode);
		return result(shmctl(id, IPC_SET, &shm));
	}
	struct msqid_ds msg = {.msg_qbytes = qbytes};

	own(&msg.msg_perm, uid, gid, mode);
	return result(msgctl(id, IPC_SET, &msg));
}
