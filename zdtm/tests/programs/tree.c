/*
 * Tasks of 5 threads each, a victim that notices every disturbance: every thread checks itself all the
 * time (memory, registers, ids, signal mask, thread-local storage) and counts in a file that all have mapped.
 * tree FILE TASKS; SIGTERM to the first task ends all: its exit status is 0 when every check of every thread
 * was passed, and the last ones too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TASKS	20 /* at most */
#define THREADS 5
#define WORDS	2048

/* What the test reads. */
struct seen {
	uint32_t ready, stop, failed, pad;
	uint32_t pids[TASKS], tids[TASKS][THREADS];
	uint64_t counters[TASKS][THREADS];
};

struct ids {
	long pid, ppid, tid, sid, pgid;
};

static struct seen *seen;
static int tasks, self; /* how many, and the number of this task */
static uint64_t memory[THREADS][WORDS];
static uint32_t turn; /* 2 or 3: of that thread; 4: there are no more */
static __thread uint64_t local;

static _Noreturn void die(int thread, const char *what)
{
	fprintf(stderr, "tree: task %d thread %d: %s: %s\n", self, thread, what, strerror(errno));
	__atomic_store_n(&seen->failed, 1, __ATOMIC_SEQ_CST);
	_exit(1);
}

/* A sum that lives in registers, vector ones included, for a good while. */
static double spin(double x)
{
	double a[8];

	for (int i = 0; i < 8; i++)
		a[i] = x + i;
	for (int n = 0; n < 1000; n++)
		for (int i = 0; i < 8; i++)
			a[i] = a[i] * 1.0000001 + 0.5;
	for (int i = 1; i < 8; i++)
		a[0] += a[i];
	return a[0];
}

static struct ids identity(void)
{
	/* the first task's parent is who starts or restores it */
	return (struct ids){syscall(SYS_getpid), self ? syscall(SYS_getppid) : 0, syscall(SYS_gettid),
			    syscall(SYS_getsid, 0), syscall(SYS_getpgid, 0)};
}

static uint64_t word(int thread, int i)
{
	return (i + 1) * 0x9e3779b97f4a7c15u + self * THREADS + thread;
}

static sigset_t mask_of(int thread)
{
	sigset_t mask;

	sigemptyset(&mask);
	if (self || thread)
		sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGRTMIN + thread);
	sigaddset(&mask, SIGRTMIN + 8 + self);
	return mask;
}

static void futex(uint32_t *word, int op, uint32_t value)
{
	if (syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0) == -1 && errno != EAGAIN)
		die(0, "futex");
}

/* Every thread waits in its own way. */
static void rest(int thread)
{
	long ms = tasks; /* the more there are, the less often each works */
	struct timespec nap = {0, ms * 1000000};
	sigset_t mask;

	switch (thread) {
	case 0:
		if (nanosleep(&nap, NULL) && errno != EINTR)
			die(thread, "nanosleep");
		break;
	case 1:
		if (poll(NULL, 0, ms))
			die(thread, "poll");
		break;
	case 2:
		if (nanosleep(&nap, NULL))
			die(thread, "nanosleep");
		__atomic_store_n(&turn, 3, __ATOMIC_SEQ_CST);
		futex(&turn, FUTEX_WAKE, 1);
		while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != 2)
			futex(&turn, FUTEX_WAIT, 3);
		break;
	case 3:
		while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) == 2)
			futex(&turn, FUTEX_WAIT, 2);
		if (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) == 3) {
			__atomic_store_n(&turn, 2, __ATOMIC_SEQ_CST);
			futex(&turn, FUTEX_WAKE, 1);
		}
		break;
	case 4:
		mask = mask_of(thread);
		sigdelset(&mask, SIGTERM); /* which is for the first thread */
		if (sigtimedwait(&mask, NULL, &nap) != -1 || (errno != EAGAIN && errno != EINTR))
			die(thread, "sigtimedwait");
	}
}

static void *work(void *arg)
{
	int thread = (int)(intptr_t)arg;
	sigset_t mask = mask_of(thread), now;
	struct ids ids, is;
	double expected = spin(self);

	if (pthread_sigmask(SIG_SETMASK, &mask, NULL))
		die(thread, "pthread_sigmask");
	ids = identity();
	for (int i = 0; i < WORDS; i++)
		memory[thread][i] = word(thread, i);
	seen->tids[self][thread] = ids.tid;
	__atomic_add_fetch(&seen->ready, 1, __ATOMIC_SEQ_CST);
	for (local = 1;; local++) {
		uint32_t stop = __atomic_load_n(&seen->stop, __ATOMIC_SEQ_CST);

		for (int i = 0; i < WORDS; i++)
			if (memory[thread][i] != word(thread, i))
				die(thread, "memory has changed");
		if (spin(self) != expected)
			die(thread, "a calculation has changed");
		if (pthread_sigmask(SIG_BLOCK, NULL, &now) || memcmp(&now, &mask, sizeof(unsigned long)))
			die(thread, "the signal mask has changed");
		is = identity();
		if (memcmp(&is, &ids, sizeof(is)))
			die(thread, "the ids have changed");
		seen->counters[self][thread] = local;
		if (thread == 3)
			stop = __atomic_load_n(&turn, __ATOMIC_SEQ_CST) == 4;
		if (stop)
			break;
		rest(thread);
	}
	if (thread == 2) {
		__atomic_store_n(&turn, 4, __ATOMIC_SEQ_CST);
		futex(&turn, FUTEX_WAKE, 1);
	}
	return NULL;
}

static void on_term(int sig)
{
	(void)sig;
	__atomic_store_n(&seen->stop, 1, __ATOMIC_SEQ_CST);
}

/* The task of this number, from its birth to its end. */
static int task(int number)
{
	pid_t kids[2];
	pthread_t threads[THREADS];
	int count = 0, status;

	self = number;
	if (number % 7 == 3 && setsid() == -1)
		die(0, "setsid");
	if (number % 5 == 2 && number % 7 != 3 && setpgid(0, 0))
		die(0, "setpgid");
	seen->pids[number] = getpid();
	for (int kid = 2 * number + 1; kid <= 2 * number + 2 && kid < tasks; kid++) {
		kids[count] = fork();
		if (kids[count] == -1)
			die(0, "fork");
		if (kids[count++] == 0)
			exit(task(kid));
	}
	turn = 2;
	for (int i = 1; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i)))
			die(i, "pthread_create");
	work(NULL);
	for (int i = 1; i < THREADS; i++)
		if ((errno = pthread_join(threads[i], NULL)))
			die(i, "pthread_join");
	for (int i = 0; i < count; i++)
		if (waitpid(kids[i], &status, 0) != kids[i] || status)
			die(0, "a child failed");
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction on = {.sa_handler = on_term};
	int fd;

	tasks = argc == 3 ? atoi(argv[2]) : 0;
	if (tasks < 1 || tasks > TASKS || (fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0 ||
	    ftruncate(fd, sizeof(*seen)) || sigaction(SIGTERM, &on, NULL)) {
		perror("tree");
		return 1;
	}
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seen == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	return task(0);
}
