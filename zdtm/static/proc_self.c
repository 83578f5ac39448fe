/*
 * title: open procfs files of a task, its child, parent and thread stay theirs; inherited ones are common
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "zdtm.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ = 5 };

struct shared {
	uint32_t ready, go;
	pid_t thread;
};

static int open_of(pid_t pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return SYS(open(path, flags));
}

/* The number at the beginning of a stat file. */
static void check_stat(int fd, pid_t pid)
{
	char text[512];
	ssize_t n = SYS(pread(fd, text, sizeof(text) - 1, 0));

	text[n] = 0;
	CHECK(atoi(text) == pid, "%d is the file of %d, not of %d", fd, atoi(text), pid);
}

static void check_position(int fd, off_t want)
{
	off_t at = SYS(lseek(fd, 0, SEEK_CUR));

	CHECK(at == want, "%d is at %ld, not %ld", fd, (long)at, (long)want);
}

static void *thread(void *arg)
{
	struct shared *shared = arg;
	sigset_t all;

	/* The signal that ends the test is the first thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	shared->thread = (pid_t)syscall(SYS_gettid);
	test_post(&shared->ready);
	for (;;)
		pause();
	return NULL;
}

static _Noreturn void child(struct shared *shared, int inherited)
{
	int parent = open_of(getppid(), "stat", O_RDONLY | O_CLOEXEC),
	    self = SYS(open("/proc/self/stat", O_RDONLY));
	pid_t pid = getppid();

	test_post(&shared->ready);
	test_await(&shared->go, 1);
	check_stat(parent, pid);
	check_stat(self, getpid());
	check_stat(inherited, pid);
	CHECK(SYS(fcntl(parent, F_GETFD)) == FD_CLOEXEC, "the parent's file is not close-on-exec");
	/* One description: the position is common with the parent. */
	check_position(inherited, READ);
	SYS(lseek(inherited, READ + 1, SEEK_SET));
	_exit(0);
}

int main(int argc, char **argv)
{
	int inherited, same, own, name, memory, of_thread, directory, of_child, system;
	char text[READ], comm[] = "another name", got[64];
	struct shared *shared;
	struct dirent *entry;
	long value = 1;
	pthread_t id;
	DIR *dir;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	inherited = SYS(open("/proc/self/stat", O_RDONLY));
	CHECK(SYS(read(inherited, text, READ)) == READ, "a short read");
	pid = SYS(fork());
	if (!pid)
		child(shared, inherited);
	CHECK(!pthread_create(&id, NULL, thread, shared), "no thread");
	test_await(&shared->ready, 2);
	same = SYS(dup2(inherited, 60));
	own = SYS(open("/proc/self/status", O_RDONLY | O_NONBLOCK));
	name = SYS(open("/proc/self/comm", O_RDWR));
	memory = SYS(open("/proc/self/mem", O_RDWR));
	of_thread = open_of(shared->thread, "stat", O_RDONLY);
	directory = SYS(open("/proc/self/task", O_RDONLY | O_DIRECTORY));
	of_child = open_of(pid, "stat", O_RDONLY | O_CLOEXEC);
	system = SYS(open("/proc/sys/kernel/ostype", O_RDONLY));
	test_daemon();
	test_waitsig();
	check_stat(inherited, getpid());
	check_stat(of_child, pid);
	check_stat(of_thread, shared->thread);
	check_position(inherited, READ);
	CHECK(SYS(fcntl(of_child, F_GETFD)) == FD_CLOEXEC, "the child's file is not close-on-exec");
	CHECK((SYS(fcntl(own, F_GETFL)) & O_NONBLOCK), "flags %#o", fcntl(own, F_GETFL));
	CHECK(SYS(write(name, comm, strlen(comm))) == (ssize_t)strlen(comm), "a short write");
	free(test_read_file("/proc/self/comm", NULL));
	CHECK(!strncmp(test_read_file("/proc/self/comm", NULL), comm, strlen(comm)), "the name is not set");
	/* A value of this very address space. */
	CHECK(SYS(pwrite(memory, &(long){77}, sizeof(value), (off_t)&value)) == sizeof(value),
	      "a short write");
	CHECK(*(volatile long *)&value == 77, "it is the memory of somebody else");
	dir = fdopendir(directory);
	CHECK(dir && (entry = readdir(dir)), "%d is no directory", directory);
	CHECK(SYS(read(system, got, sizeof(got))) == 6 && !strncmp(got, "Linux\n", 6), "another system");
	test_post(&shared->go);
	test_reap(pid);
	check_position(inherited, READ + 1);
	check_position(same, READ + 1);
	CHECK(pread(of_child, got, 1, 0) == -1 && errno == ESRCH, "the file outlives its process");
	pass();
}
