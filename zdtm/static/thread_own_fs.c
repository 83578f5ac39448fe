/*
 * title: a thread with a working directory and umask of its own is refused: images have one for all threads
 * flavours: host ns userns
 * flags: crfail
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/kcmp.h>

static uint32_t ready, told;
static pid_t tid;

static void *thread(void *argument)
{
	SYS(unshare(CLONE_FS));
	tid = gettid();
	test_post(&ready);
	test_await(&told, 1);
	return argument;
}

int main(int argc, char **argv)
{
	pthread_t other;

	test_init(argc, argv);
	other = thread_start(thread, NULL);
	test_await(&ready, 1);
	CHECK(SYS(syscall(SYS_kcmp, getpid(), tid, KCMP_FS, 0, 0)), "the thread has the leader's still");
	test_daemon();
	test_waitsig();
	CHECK(SYS(syscall(SYS_kcmp, getpid(), tid, KCMP_FS, 0, 0)), "the thread has the leader's again");
	test_post(&told);
	thread_join(other);
	pass();
}
