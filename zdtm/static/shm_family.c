/*
 * title: relatives have attachments in common, of their own, and of their parents' segments
 * flavours: ns userns
 */
#include "child.h"
#include "memory.h"
#include "sysv.h"

enum { PAGES = 16 };

int main(int argc, char **argv)
{
	unsigned char *first, *second, *third;
	int ids[3];
	pid_t child;

	test_init(argc, argv);
	for (int i = 0; i < 3; i++)
		ids[i] = SYS(shmget(10 + i, PAGES * PAGE, IPC_CREAT | IPC_EXCL | 0600));
	first = SYS(shmat(ids[0], NULL, 0));
	second = SYS(shmat(ids[1], NULL, 0));
	pages_fill(first, PAGES, 1);
	pages_fill(second, PAGES, 101);
	child = child_fork();
	if (!child) {
		/* The first one elsewhere, one of its own where that was; the second as inherited. */
		third = SYS(shmat(ids[2], first, SHM_REMAP));
		first = SYS(shmat(ids[0], NULL, SHM_RDONLY));
		pages_fill(third, PAGES, 201);
		child_wait();
		pages_check(first + 2 * PAGE, PAGES - 2, 3, "child: first");
		pages_check(second, PAGES, 101, "child: second");
		pages_check(third, PAGES, 201, "child: third");
		pages_fill(second, 1, 300);
		pages_fill(third, 1, 301);
		CHECK(page_is(first + PAGE, 302), "child: the first is another segment");
		_exit(0);
	}
	child_await();
	SYS(shmdt(second));
	test_daemon();
	test_waitsig();
	CHECK(shm_stat(ids[0]).shm_nattch == 2 && shm_stat(ids[1]).shm_nattch == 1 &&
		      shm_stat(ids[2]).shm_nattch == 1,
	      "attached %lu, %lu, %lu times", shm_stat(ids[0]).shm_nattch, shm_stat(ids[1]).shm_nattch,
	      shm_stat(ids[2]).shm_nattch);
	pages_check(first, PAGES, 1, "first");
	pages_fill(first + PAGE, 1, 302);
	child_go();
	test_reap(child);
	for (int i = 0; i < 3; i++)
		CHECK(shm_stat(ids[i]).shm_nattch == (i == 0), "%d is attached %lu times", i,
		      shm_stat(ids[i]).shm_nattch);
	second = SYS(shmat(ids[1], NULL, 0));
	third = SYS(shmat(ids[2], NULL, 0));
	CHECK(page_is(second, 300) && page_is(third, 301), "what the child wrote is lost");
	pass();
}
