/*
 * title: a child that has executed another program with arguments and an environment is that program
 * flavours: host ns userns
 */
#include "program.h"

struct shared {
	uint32_t ready, go;
};

static const char *const variables[] = {"FIRST=one", "SECOND=", NULL};
static char before_exec[4096] = "the same in every copy";

/* Runs in the copy: as `copy child SHARED '' 'two words'`, in the test's directory. */
static void child(int argc, char **argv)
{
	const char *const words[] = {"another name", "child", argv[2], "", "two words", NULL};
	struct shared *shared = program_shared(argv[2], sizeof(*shared));
	char copy[PATH_MAX];
	int round;

	CHECK(getcwd(copy, sizeof(copy) - 8), "getcwd: %m");
	strcat(copy, "/copy");
	before_exec[0] = 'T';
	for (round = 0; round < 2; round++) {
		CHECK(argc == 5 && !argv[5], "there are %d arguments", argc);
		CHECK(!strcmp(argv[0], words[0]) && !strcmp(argv[4], words[4]), "the arguments differ");
		program_check_words("/proc/self/cmdline", words);
		program_check_words("/proc/self/environ", variables);
		program_check_exe(copy);
		program_check_comm("copy");
		CHECK(!strcmp((const char *)getauxval(AT_EXECFN), "copy"), "AT_EXECFN is %s",
		      (const char *)getauxval(AT_EXECFN));
		CHECK(!strcmp(getenv("FIRST"), "one") && !*getenv("SECOND"), "the environment differs");
		CHECK(!strcmp(before_exec, "The same in every copy"), "memory holds %s", before_exec);
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
	char own[PATH_MAX];
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "child"))
		child(argc, argv);
	test_init(argc, argv);
	program_link("/proc/self/exe", own);
	program_copy("copy");
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid) {
		char *arguments[] = {"another name", "child", (char *)test_path("shared-0"), "",
				     "two words",    NULL};

		SYS(execve("copy", arguments, (char **)variables));
	}
	tree_await(pid, &shared->ready, 1);
	test_daemon();
	test_waitsig();
	program_check_exe(own);
	program_check_comm("tree_exec");
	CHECK(before_exec[0] == 't', "the parent has the child's memory");
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
