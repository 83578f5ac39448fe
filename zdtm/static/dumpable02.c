/*
 * title: a process that runs what it may not read stays undumpable
 * flavours: host ns
 * flags: suid
 */
#include "zdtm.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 18943 };

struct talk {
	uint32_t ready, go;
	int before;
};

/* What the child becomes; nothing of the test is left in it but the shared file. */
static int undumpable(const char *shared)
{
	int fd = SYS(open(shared, O_RDWR));
	struct talk *talk = SYS(mmap(NULL, sizeof(*talk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	SYS(close(fd));
	talk->before = SYS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	test_post(&talk->ready);
	test_await(&talk->go, 1);
	return 10 + SYS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}

static void copy_of_myself(const char *to)
{
	size_t length;
	char *all = test_read_file("/proc/self/exe", &length);
	int fd = SYS(open(to, O_WRONLY | O_CREAT | O_EXCL, 0700));

	CHECK(write(fd, all, length) == (ssize_t)length, "%s: %m", to);
	SYS(fchmod(fd, 0111));
	SYS(close(fd));
}

int main(int argc, char **argv)
{
	struct talk *talk;
	siginfo_t end;
	pid_t child;

	if (argc > 1)
		return undumpable(argv[1]);
	test_init(argc, argv);
	talk = test_shared(sizeof(*talk));
	SYS(chmod("shared-0", 0666));
	copy_of_myself("unreadable");
	child = SYS(fork());
	if (!child) {
		SYS(setgroups(0, NULL));
		SYS(setresgid(NOBODY, NOBODY, NOBODY));
		SYS(setresuid(NOBODY, NOBODY, NOBODY));
		CHECK(open("unreadable", O_RDONLY) < 0 && errno == EACCES, "the program can be read");
		SYS(execl("unreadable", "unreadable", "shared-0", NULL));
	}
	test_await(&talk->ready, 1);
	CHECK(talk->before != 1, "the child is dumpable from the start");
	test_daemon();
	test_waitsig();
	test_post(&talk->go);
	SYS(waitid(P_PID, (id_t)child, &end, WEXITED));
	CHECK(end.si_code == CLD_EXITED, "the child was ended by signal %d", end.si_status);
	CHECK(end.si_status == 10 + talk->before, "dumpable is %d instead of %d", end.si_status - 10,
	      talk->before);
	pass();
}
