/*
 * title: first processes of pid namespaces that have ended are waited for with the same status and pid
 * flavours: host ns userns
 * flags: suid
 */
#include <sys/wait.h>

#include "pidns.h"

int main(int argc, char **argv)
{
	pid_t exited, killed, first, kid;
	siginfo_t info = {0};
	int status;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	exited = pidns_fork(CLONE_NEWPID);
	if (!exited)
		_exit(3);
	killed = pidns_fork(CLONE_NEWPID);
	if (!killed)
		while (true)
			pause();
	SYS(kill(killed, SIGKILL));
	first = pidns_fork(CLONE_NEWPID);
	if (!first) { /* its child has been killed by a signal */
		kid = SYS(fork());
		if (!kid)
			while (true)
				pause();
		SYS(kill(kid, SIGUSR2));
		SYS(waitid(P_PID, (id_t)kid, &info, WEXITED | WNOWAIT));
		child_wait();
		SYS(waitpid(-1, &status, 0));
		CHECK(kid == 2 && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2, "status %#x", status);
		_exit(0);
	}
	SYS(waitid(P_PID, (id_t)exited, &info, WEXITED | WNOWAIT));
	SYS(waitid(P_PID, (id_t)killed, &info, WEXITED | WNOWAIT));
	child_await();
	test_daemon();
	test_waitsig();
	SYS(waitid(P_PID, (id_t)exited, &info, WEXITED));
	CHECK(info.si_code == CLD_EXITED && info.si_status == 3, "code %d, status %d", info.si_code,
	      info.si_status);
	SYS(waitid(P_PID, (id_t)killed, &info, WEXITED));
	CHECK(info.si_code == CLD_KILLED && info.si_status == SIGKILL, "code %d, status %d", info.si_code,
	      info.si_status);
	child_go();
	test_reap(first);
	pass();
}
