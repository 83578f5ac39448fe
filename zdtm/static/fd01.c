/*
 * title: descriptors at all powers of two up to the highest number that is allowed, in own and shared tables
 * flavours: host ns userns
 * flags: suid
 */
#include <sys/resource.h>

#include "files.h"
#include "tree.h"

/* Every fourth task shares the table of the one before. */
enum { FIRST = 2, SHARE = 4 };

static int powers, highest;

static int number_of(int who)
{
	return who > powers ? highest : 1 << (FIRST + who - 1);
}

static void take(struct tree_task *self, int number)
{
	int fd = SYS(open("file", O_RDONLY));

	(void)self;
	if (fd != number) {
		SYS(dup2(fd, number));
		SYS(close(fd));
	}
	SYS(lseek(number, number, SEEK_SET));
	SYS(fcntl(number, F_SETFD, number & 8 ? FD_CLOEXEC : 0));
}

static void check(struct tree_task *self, int number)
{
	struct stat named;

	(void)self;
	file_position(number, number);
	SYS(stat("file", &named));
	CHECK(named.st_ino == file_stat(number).st_ino, "%d is another file", number);
	CHECK(SYS(fcntl(number, F_GETFD)) == (number & 8 ? FD_CLOEXEC : 0), "%d: close-on-exec", number);
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	int tasks;

	test_init(argc, argv);
	SYS(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	SYS(setrlimit(RLIMIT_NOFILE, &limit));
	highest = (int)limit.rlim_cur - 1;
	while (powers < 20 && 1 << (FIRST + powers) < highest)
		powers++;
	tasks = powers + 1;
	SYS(close(file_make("file", 100, 1)));
	tree_start();
	for (int who = 1; who <= tasks; who++) {
		bool shares = who % SHARE == 0;

		tree_clone(shares ? who - 1 : 0, who, shares ? CLONE_FILES : 0);
		tree_step(who, take, number_of(who));
	}
	test_daemon();
	test_waitsig();
	for (int who = 1; who <= tasks; who++) {
		tree_step(who, check, number_of(who));
		if (who % SHARE == 0)
			tree_step(who - 1, check, number_of(who));
	}
	tree_end();
	pass();
}
