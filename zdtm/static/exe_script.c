/*
 * title: a child that runs a script is its interpreter, and has the script's name
 * flavours: host ns userns
 */
#include "program.h"

struct shared {
	uint32_t ready, go;
};

/* Runs in the interpreter: as `INTERPRETER '--of script' ./script SHARED last`. */
static void interpret(int argc, char **argv)
{
	struct shared *shared = program_shared(argv[3], sizeof(*shared));
	char interpreter[PATH_MAX];
	int round;

	CHECK(getcwd(interpreter, sizeof(interpreter) - 16), "getcwd: %m");
	strcat(interpreter, "/interpreter");
	for (round = 0; round < 2; round++) {
		const char *const words[] = {interpreter, "--of script", "./script", argv[3], "last", NULL};

		CHECK(argc == 5, "there are %d arguments", argc);
		program_check_words("/proc/self/cmdline", words);
		program_check_exe(interpreter);
		program_check_comm("script");
		CHECK(!strcmp((const char *)getauxval(AT_EXECFN), "./script"), "AT_EXECFN is %s",
		      (const char *)getauxval(AT_EXECFN));
		if (!round) {
			test_post(&shared->ready);
			test_await(&shared->go, 1);
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct shared *shared;
	pid_t pid;
	int fd;

	if (argc > 2 && !strcmp(argv[1], "--of script"))
		interpret(argc, argv);
	test_init(argc, argv);
	program_copy("interpreter");
	fd = SYS(open("script", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755));
	SYS(dprintf(fd, "#!%s --of script\n", test_path("interpreter")));
	SYS(close(fd));
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid)
		SYS(execl("./script", "this name is dropped", test_path("shared-0"), "last", NULL));
	tree_await(pid, &shared->ready, 1);
	test_daemon();
	test_waitsig();
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
