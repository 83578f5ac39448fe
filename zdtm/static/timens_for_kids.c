/*
 * title: children to come get the time namespace that their parent has made for them, with its clocks
 * flavours: host ns userns
 * flags: suid
 * needs: timens
 */
#include "timens.h"

/* One has made its first child there already, the other has not. */
static void maker(bool has_child)
{
	struct timens own, kids;
	pid_t child = -1;

	timens_look(getpid(), &own);
	timens_make(has_child ? 70000 : 50000);
	if (has_child) {
		child = SYS(fork());
		if (!child) {
			timens_check(&own, 70000);
			child_wait();
			timens_check(&own, 70000);
			test_await(timens_looked, 1);
			_exit(0);
		}
	}
	timens_look(getpid(), &kids);
	CHECK(strcmp(kids.own, kids.kids), "%s is both", kids.own);
	child_wait();
	timens_same(getpid(), &kids);
	timens_check(&own, 0);
	if (has_child) {
		timens_in(child, kids.kids);
		test_post(timens_looked);
	}
	child = SYS(fork());
	if (!child) {
		timens_check(&own, has_child ? 70000 : 50000);
		_exit(0);
	}
	test_reap(child);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t makers[2];

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	timens_looked = test_shared(sizeof(*timens_looked));
	for (int i = 0; i < 2; i++) {
		makers[i] = SYS(fork());
		if (!makers[i])
			maker(i);
	}
	test_await(&child_words->ready, 3);
	test_daemon();
	test_waitsig();
	child_go();
	for (int i = 0; i < 2; i++)
		test_reap(makers[i]);
	pass();
}
