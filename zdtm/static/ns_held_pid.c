/*
 * title: pid namespaces whose processes have ended, which only descriptors keep, stay, and take no more
 * flavours: host ns userns
 * flags: suid
 */
#include <signal.h>
#include <sys/wait.h>

#include "nsfile.h"
#include "pidns.h"

enum { SPACES = 2 };

int main(int argc, char **argv)
{
	int held[SPACES], same, status;
	pid_t pid;

	test_init(argc, argv);
	for (int i = 0; i < SPACES; i++) {
		pid = pidns_fork(CLONE_NEWPID);
		if (!pid)
			for (;;)
				pause();
		held[i] = nsfile_open(pid, "pid");
		if (!i)
			same = nsfile_open(pid, "pid");
		SYS(kill(pid, SIGKILL));
		SYS(waitpid(pid, &status, 0));
	}
	test_daemon();
	test_waitsig();
	CHECK(nsfile_inode(same) == nsfile_inode(held[0]), "the first one has become two");
	CHECK(nsfile_inode(held[0]) != nsfile_inode(held[1]), "two have become one");
	for (int i = 0; i < SPACES; i++) {
		CHECK(nsfile_above(held[i], NSFILE_PARENT) == nsfile_own("pid"), "number %d is elsewhere", i);
		CHECK(nsfile_above(held[i], NSFILE_USERNS) == nsfile_own("user"), "number %d is another's",
		      i);
		SYS(setns(held[i], CLONE_NEWPID));
		CHECK(fork() < 0 && errno == ENOMEM, "number %d takes a process: %m", i);
	}
	pass();
}
