/* Threads with seccomp filters: the leader has two, `several` three more threads have one more each. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_barrier_t ready;

static int filter(unsigned int nr, unsigned int action, unsigned int flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void *run(void *argument)
{
	if (argument)
		filter(SYS_getppid, SECCOMP_RET_ERRNO | (unsigned int)(long)argument, 0);
	pthread_barrier_wait(&ready);
	for (;;)
		pause();
	return NULL;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	pthread_t thread;

	filter(SYS_ptrace, SECCOMP_RET_KILL_PROCESS, 0);
	filter(SYS_getpgrp, SECCOMP_RET_ERRNO | ENOTTY, SECCOMP_FILTER_FLAG_LOG);
	if (!strcmp(how, "listener") &&
	    filter(SYS_getuid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER) < 0)
		return 1;
	if (!strcmp(how, "notify") && filter(SYS_getuid, SECCOMP_RET_USER_NOTIF, 0) < 0)
		return 1;
	pthread_barrier_init(&ready, NULL, 4);
	for (long i = 1; i < 4; i++)
		pthread_create(&thread, NULL, run, strcmp(how, "several") ? NULL : (void *)i);
	pthread_barrier_wait(&ready);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
