/*
 * title: a message queue with a name, full, shared with a child
 * flavours: host ns userns
 * cflags: -lrt
 */
#include "mqueue.h"

#include "child.h"

int main(int argc, char **argv)
{
	mqd_t queue, again;
	struct stat a, b;
	pid_t child;

	test_init(argc, argv);
	queue = mq_make(0, O_RDWR, 0600, 3, 16);
	child = child_fork();
	if (!child) {
		child_wait();
		mq_expect(queue, "b", 9);
		mq_put(queue, "from the child", 2);
		_exit(0);
	}
	mq_put(queue, "a", 1);
	mq_put(queue, "b", 9);
	mq_put(queue, "c", 1);
	child_await();
	test_daemon();
	test_waitsig();
	mq_check(queue, 3, 16, 3, O_RDWR);
	again = SYS(mq_open(mq_name(0), O_RDWR | O_NONBLOCK));
	SYS(mq_unlink(mq_name(0)));
	SYS(fstat(queue, &a));
	SYS(fstat(again, &b));
	CHECK(a.st_ino == b.st_ino, "its name is another queue's");
	CHECK(mq_send(again, "x", 1, 0) == -1 && errno == EAGAIN, "it is not full");
	child_go();
	test_reap(child);
	mq_expect(again, "from the child", 2);
	mq_expect(queue, "a", 1);
	mq_expect(queue, "c", 1);
	mq_expect_none(queue);
	pass();
}
