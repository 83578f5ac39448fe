/*
 * title: memory files that are only mapped keep name, size and contents, for parent and child
 * flavours: host ns userns
 */
#include "child.h"
#include "memory.h"
#include "probe.h"

enum { PAGES = 16, MAPPED = 4 };

static void check(unsigned char *shared, unsigned char *own, const char *who)
{
	pages_check(shared, MAPPED, 1, who);
	pages_check(own, 1, 1, who);
	pages_check(own + PAGE, 1, 100, who);
	zeros_check(own + MAPPED * PAGE, 1, who);
	CHECK(probe(own + (PAGES - 1) * PAGE, PROBE_READ) == SIGBUS, "%s: the end has moved", who);
}

int main(int argc, char **argv)
{
	unsigned char *shared, *own;
	pid_t child;
	int fd;

	test_init(argc, argv);
	fd = SYS(memfd_create("some memory", MFD_CLOEXEC));
	SYS(ftruncate(fd, (PAGES - 2) * PAGE));
	shared = SYS(mmap(NULL, MAPPED * PAGE, RW, MAP_SHARED, fd, 0));
	own = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE, fd, 0));
	SYS(close(fd));
	pages_fill(shared, MAPPED, 1);
	pages_fill(own + PAGE, 1, 100);
	child = child_fork();
	if (!child) {
		child_wait();
		check(shared, own, "child");
		CHECK(page_is(own, 1) && page_is(shared, 1), "child: another page");
		pages_fill(shared + 2 * PAGE, 1, 200);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check(shared, own, "parent");
	child_go();
	test_reap(child);
	CHECK(page_is(shared + 2 * PAGE, 200), "the child has another file");
	CHECK(page_is(own + 2 * PAGE, 200), "the private mapping is of another file");
	CHECK(page_is(own + PAGE, 100), "what is private has changed");
	pass();
}
