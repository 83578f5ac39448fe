/*
 * title: a child whose program is in a memfd runs on from it
 * flavours: host ns userns
 */
#include "memfd_program.h"

int main(int argc, char **argv)
{
	struct memfd_state was;
	uint32_t *words;
	pid_t pid;
	int fd;

	if (argc > 1 && !strcmp(argv[1], "executed"))
		executed(argv[2]);
	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	fd = memfd_program();
	pid = execute(fd, (char *)test_path("shared-0"));
	tree_await(pid, &words[0], 1);
	was = memfd_state(fd);
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	test_post(&words[1]);
	ended(pid);
	ended(execute(fd, NULL));
	pass();
}
