/*
 * In IPC and UTS namespaces of its own: a message queue, semaphores and a segment, and a TCP connection with
 * bytes on the way. Says "ready" and sleeps.
 */
#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(void)
{
	struct {
		long type;
		char text[21];
	} msg = {5, "twenty-one characters"};
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int id, listener, client;
	char *segment;

	if (unshare(CLONE_NEWIPC | CLONE_NEWUTS) || sethostname("inside", 6))
		return fail("unshare");
	id = msgget(77, IPC_CREAT | 0600);
	if (msgsnd(id, &msg, 21, 0) || msgsnd(id, &msg, 3, 0))
		return fail("msgsnd");
	id = semget(78, 3, IPC_CREAT | 0600);
	if (semctl(id, 1, SETVAL, 9))
		return fail("semctl");
	segment = shmat(shmget(79, 5000, IPC_CREAT | 0600), NULL, 0);
	if (segment == (void *)-1)
		return fail("shmat");
	strcpy(segment, "segment");
	listener = socket(AF_INET, SOCK_STREAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (void *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (void *)&addr, &len))
		return fail("listen");
	client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(client, (void *)&addr, len) || accept(listener, NULL, NULL) < 0)
		return fail("connect");
	if (write(client, "in the queue", 12) != 12)
		return fail("write");
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
