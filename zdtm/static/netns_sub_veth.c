/*
 * title: two children in network namespaces of their own stay tied to a bridge in that of their parent
 * flavours: ns userns
 * flags: suid
 * needs: link_nsid
 */
#include <sched.h>

#include "child.h"

int main(int argc, char **argv)
{
	pid_t kids[2];

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	for (int i = 0; i < 2; i++) {
		kids[i] = SYS(fork());
		if (!kids[i]) {
			SYS(unshare(CLONE_NEWNET));
			child_wait();
			_exit(0);
		}
	}
	test_await(&child_words->ready, 2);
	test_daemon();
	test_waitsig();
	child_go();
	for (int i = 0; i < 2; i++)
		test_reap(kids[i]);
	pass();
}
