/*
 * title: tasks in time namespaces below the tree's keep their clocks, even if who made them is elsewhere
 * flavours: host ns userns
 * flags: suid
 * needs: timens
 */
#include "timens.h"

/* Two brothers in a namespace that nobody's children get any more; the second one's child has one further in.
 */
static void brother(int second, const struct timens *top)
{
	pid_t kid;

	timens_check(top, 30000);
	if (second) {
		timens_make(90000);
		kid = SYS(fork());
		if (!kid) {
			timens_check(top, 90000);
			child_wait();
			timens_check(top, 90000);
			test_await(timens_looked, 1);
			_exit(0);
		}
		child_wait();
		timens_check(top, 30000);
		timens_in(kid, "");
		test_post(timens_looked);
		test_reap(kid);
		_exit(0);
	}
	child_wait();
	timens_check(top, 30000);
	_exit(0);
}

int main(int argc, char **argv)
{
	char names[2][64], own[64];
	struct timens top;
	pid_t brothers[2];
	int before;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	timens_looked = test_shared(sizeof(*timens_looked));
	timens_look(getpid(), &top);
	before = SYS(open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC));
	timens_make(30000);
	for (int i = 0; i < 2; i++) {
		brothers[i] = SYS(fork());
		if (!brothers[i])
			brother(i, &top);
	}
	test_await(&child_words->ready, 3);
	/* The next children are in this one again, which may be another user namespace's. */
	if (setns(before, CLONE_NEWTIME)) {
		CHECK(errno == EPERM, "setns: %m");
		timens_make(1);
	}
	SYS(close(before));
	test_daemon();
	test_waitsig();
	timens_check(&top, 0);
	timens_link(getpid(), "time", own, sizeof(own));
	for (int i = 0; i < 2; i++)
		timens_link(brothers[i], "time", names[i], sizeof(names[i]));
	CHECK(!strcmp(names[0], names[1]) && strcmp(names[0], own), "the brothers are in %s and %s", names[0],
	      names[1]);
	child_go();
	for (int i = 0; i < 2; i++)
		test_reap(brothers[i]);
	pass();
}
