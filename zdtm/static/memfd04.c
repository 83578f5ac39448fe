/*
 * title: a memfd with a script can be executed: nobody has it open for writing who had not before
 * flavours: host ns userns
 */
#include "memfd.h"
#include "program.h"

enum { INTERPRETED = 42 };

static void execute(int fd)
{
	char *words[] = {"memfd", NULL};
	pid_t pid = SYS(fork());
	int status;

	if (!pid) {
		execveat(fd, "", words, words + 1, AT_EMPTY_PATH);
		fail("execveat: %m");
	}
	SYS(waitpid(pid, &status, 0));
	CHECK(status == INTERPRETED << 8, "the script's status is %#x", status);
}

int main(int argc, char **argv)
{
	struct memfd_state was;
	int fd;

	if (argc > 1 && !strcmp(argv[1], "interpret"))
		_exit(INTERPRETED);
	test_init(argc, argv);
	program_copy("interpreter");
	fd = SYS(memfd_create("script", 0));
	SYS(dprintf(fd, "#!%s interpret\n", test_path("interpreter")));
	was = memfd_state(fd);
	execute(fd);
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	execute(fd);
	pass();
}
