/*
 * title: a thread shares directory, root and umask with the leader, before and after
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/kcmp.h>
#include <sys/stat.h>

static uint32_t told, done;
static pid_t tid;

static void check_shared(void)
{
	long order = SYS(syscall(SYS_kcmp, getpid(), tid, KCMP_FS, 0, 0));

	CHECK(!order, "kcmp says that the thread's fs is another one (%ld)", order);
}

static void *thread(void *argument)
{
	(void)argument;
	tid = gettid();
	test_post(&done);
	test_await(&told, 1);
	CHECK(umask(0123) == 0071, "the thread has another umask");
	SYS(chdir("below"));
	test_post(&done);
	test_await(&told, 2);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t other;
	char here[4096];

	test_init(argc, argv);
	SYS(mkdir("sub", 0755));
	SYS(mkdir("sub/below", 0755));
	other = thread_start(thread, NULL);
	test_await(&done, 1);
	SYS(chdir("sub"));
	umask(0071);
	check_shared();
	test_daemon();
	test_waitsig();
	check_shared();
	test_post(&told);
	test_await(&done, 2);
	CHECK(umask(022) == 0123, "the thread's umask is not the leader's");
	SYS(getcwd(here, sizeof(here)) ? 0 : -1);
	CHECK(!strcmp(here, test_path("sub/below")), "the thread's chdir has not moved the leader: %s", here);
	test_post(&told);
	thread_join(other);
	pass();
}
