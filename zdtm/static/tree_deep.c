/*
 * title: a chain of thirty generations
 * flavours: host ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	int who, group = 0;

	test_init(argc, argv);
	tree_start();
	for (who = 1; who <= 30; who++) {
		tree_fork(who - 1, who);
		/* every third one begins a group, every tenth a session */
		if (who % 10 == 0)
			tree_setsid(who);
		else if (who % 3 == 0)
			tree_setpgid(who, who);
	}
	tree_record();
	for (who = 1; who <= 30; who++) {
		if (who % 10 == 0 || who % 3 == 0)
			group = who;
		tree_expect(who, who - 1, who - who % 10, group);
	}
	test_daemon();
	test_waitsig();
	tree_check();
	tree_end();
	pass();
}
