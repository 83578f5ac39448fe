/*
 * ending: children all the time whose threads end them, or execute this program anew, at any moment. Says
 * when they are there, goes on until it is killed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 8, NAP_NS = 3000000 };

static unsigned int seed;

static void nap(void)
{
	struct timespec t = {0, rand_r(&seed) % NAP_NS};

	nanosleep(&t, NULL);
}

static void *run(void *executes)
{
	nap();
	if (executes)
		execl("/proc/self/exe", "ending", "child", NULL);
	return NULL;
}

/* A quarter ends by its first thread, a quarter executes by it, a quarter by another; one goes on without it.
 */
static _Noreturn void child(int is_again)
{
	pthread_t thread;
	int what;

	seed = (unsigned int)getpid() * 7919 + (unsigned int)is_again;
	what = rand_r(&seed) % 4;
	pthread_create(&thread, NULL, run, NULL);
	if (what == 2 && !is_again)
		pthread_create(&thread, NULL, run, &seed);
	nap();
	if (what == 3)
		pthread_exit(NULL);
	if (what == 1 && !is_again)
		execl("/proc/self/exe", "ending", "child", NULL);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pids[CHILDREN] = {0}, ended;

	(void)argv;
	if (argc > 1)
		child(1);
	write(1, "ready\n", 6);
	for (;;) {
		for (int i = 0; i < CHILDREN; i++)
			if (!pids[i]) {
				pids[i] = fork();
				if (!pids[i])
					child(0);
			}
		ended = wait(NULL);
		for (int i = 0; i < CHILDREN; i++)
			if (pids[i] == ended)
				pids[i] = 0;
	}
}
