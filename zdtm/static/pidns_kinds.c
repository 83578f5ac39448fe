/*
 * title: what names processes inside a pid namespace below the tree's names the same ones afterwards
 * flavours: host ns userns
 * flags: suid
 * opts: --file-locks
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

#include "pidns.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct {
	uint32_t ready, go, told, checked;
	pid_t tid;
} *shared;

static void *told(void *unused)
{
	siginfo_t info;
	sigset_t set;

	shared->tid = (pid_t)syscall(SYS_gettid);
	test_post(&shared->ready);
	child_await_go();
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER, "code %d", info.si_code);
	test_post(&shared->told);
	return unused;
}

/* It has a timer that tells a thread of its, one on the CPU time of its parent, a lock, and stops. */
static void kid(int file)
{
	struct sigevent thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	struct itimerspec soon = {.it_value.tv_nsec = 1}, far = {.it_value.tv_sec = 4000}, left;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
	timer_t timer, cpu;
	clockid_t clock;
	pthread_t other;

	CHECK(!pthread_create(&other, NULL, told, NULL), "pthread_create");
	test_await(&shared->ready, 1);
	thread.sigev_notify_thread_id = shared->tid;
	SYS(timer_create(CLOCK_MONOTONIC, &thread, &timer));
	CHECK(!clock_getcpuclockid(getppid(), &clock), "clock_getcpuclockid");
	SYS(timer_create(clock, &none, &cpu));
	SYS(timer_settime(cpu, 0, &far, NULL));
	SYS(fcntl(file, F_SETLK, &lock));
	SYS(kill(getppid(), SIGUSR1));
	test_post(&shared->ready);
	child_await_go();
	SYS(timer_gettime(cpu, &left));
	CHECK(left.it_value.tv_sec > 3000, "%ld s of the parent's CPU time are left", left.it_value.tv_sec);
	SYS(timer_settime(timer, 0, &soon, NULL));
	test_await(&shared->told, 1);
	pthread_join(other, NULL);
	test_await(&shared->checked, 1); /* its lock ends with it */
	_exit(0);
}

static void first(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int file = SYS(open(test_path("locked"), O_RDWR | O_CREAT, 0666)), pidfd, ends[2];
	pid_t pid, stopped, filler;
	siginfo_t info = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
	filler = SYS(fork()); /* so that numbers differ more from those outside */
	if (!filler)
		_exit(0);
	test_reap(filler);
	pid = SYS(fork());
	if (!pid)
		kid(file);
	stopped = SYS(fork());
	if (!stopped) {
		raise(SIGSTOP);
		_exit(5);
	}
	SYS(waitid(P_PID, (id_t)stopped, &info, WSTOPPED | WNOWAIT));
	pidfd = SYS(pidfd_open(pid, 0));
	SYS(pipe(ends));
	SYS(fcntl(ends[0], F_SETOWN, pid));
	test_await(&shared->ready, 2);
	test_post(&shared->go);
	child_await_go();
	CHECK(fcntl(ends[0], F_GETOWN) == pid, "the owner is %d, was %d", fcntl(ends[0], F_GETOWN), pid);
	SYS(fcntl(file, F_GETLK, &lock));
	CHECK(lock.l_type == F_WRLCK && lock.l_pid == pid, "lock %d of %d, not %d", lock.l_type, lock.l_pid,
	      pid);
	sigdelset(&set, SIGRTMIN);
	test_post(&shared->checked);
	CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == pid, "from %d, not %d", info.si_pid, pid);
	SYS(waitid(P_PID, (id_t)stopped, &info, WSTOPPED));
	CHECK(info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == stopped,
	      "code %d status %d of %d", info.si_code, info.si_status, info.si_pid);
	SYS(kill(stopped, SIGCONT));
	SYS(waitid(P_PID, (id_t)stopped, &info, WEXITED));
	CHECK(info.si_status == 5, "status %d", info.si_status);
	SYS(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED));
	CHECK(info.si_pid == pid && info.si_code == CLD_EXITED && !info.si_status, "%d ended with %d",
	      info.si_pid, info.si_status);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t root;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	root = pidns_fork(CLONE_NEWPID);
	if (!root)
		first();
	test_await(&shared->go, 1);
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(root);
	pass();
}
