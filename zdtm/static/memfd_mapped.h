/* For memfd02 and memfd02-hugetlb: a memfd whose pages are `page` bytes, mapped in every way. */
#include "memfd.h"
#include "tree.h"

enum { SHARED, PRIVATE, CHILD, HOLE, MEMFD_PAGES };

static unsigned char *memfd_map(int fd, size_t length, int prot, int flags)
{
	void *at = mmap(NULL, length, prot, flags, fd, 0);

	if (at == MAP_FAILED && errno == ENOMEM)
		skip("this machine has no free huge pages (vm.nr_overcommit_hugepages)");
	return SYS(at);
}

static void memfd_run(unsigned flags, size_t page)
{
	size_t length = MEMFD_PAGES * page;
	unsigned char *common, *own, *read_only, *closed, byte;
	int fd, reader, other;
	struct shared {
		uint32_t ready, go;
	} *shared = test_shared(sizeof(*shared));
	struct memfd_state was;
	struct stat before;
	pid_t pid;

	fd = memfd_create("mapped", flags);
	if (fd < 0 && (errno == ENODEV || errno == ENOSYS))
		skip("this kernel has no huge pages of that size");
	CHECK(fd >= 0, "memfd_create: %m");
	SYS(ftruncate(fd, (off_t)length));
	reader = memfd_reopen(fd, O_RDONLY);
	common = memfd_map(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED);
	own = memfd_map(fd, length, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	read_only = memfd_map(reader, length, PROT_READ, MAP_SHARED);
	test_fill(common + SHARED * page, 4096, 1);
	test_fill(common + PRIVATE * page, 4096, 2);
	test_fill(common + CHILD * page, 4096, 3);
	test_fill(own + PRIVATE * page, 4096, 4);
	other = SYS(memfd_create("mapped and closed", flags));
	SYS(ftruncate(other, (off_t)page));
	closed = memfd_map(other, page, PROT_READ | PROT_WRITE, MAP_SHARED);
	test_fill(closed, 4096, 5);
	before = memfd_mapped(closed);
	SYS(close(other));
	was = memfd_state(fd);
	pid = SYS(fork());
	if (!pid) {
		test_post(&shared->ready);
		test_await(&shared->go, 1);
		CHECK(test_differs(closed, 4096, 5) < 0, "the child has other memory of what is closed");
		closed[1] = common[CHILD * page + 1] = 99;
		own[SHARED * page] ^= 1;
		_exit(0);
	}
	tree_await(pid, &shared->ready, 1);
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	memfd_check_mapped(common, fd);
	memfd_check_mapped(own, fd);
	memfd_check_mapped(read_only, fd);
	CHECK(memfd_mapped(closed).st_dev == before.st_dev, "another file system is mapped");
	for (int i = 0; i < 3; i++) {
		CHECK(test_differs(common + (size_t)i * page, 4096, (uint32_t)i + 1) < 0,
		      "shared page %d differs", i);
		CHECK(test_differs(read_only + (size_t)i * page, 4096, (uint32_t)i + 1) < 0,
		      "page %d for reading differs", i);
		CHECK(test_differs(own + (size_t)i * page, 4096, i == PRIVATE ? 4 : (uint32_t)i + 1) < 0,
		      "private page %d differs", i);
	}
	test_post(&shared->go);
	test_reap(pid);
	CHECK(test_differs(closed, 1, 5) < 0 && closed[1] == 99, "what was closed is not shared");
	CHECK(read_only[CHILD * page + 1] == 99 && own[CHILD * page + 1] == 99, "no write shows elsewhere");
	common[PRIVATE * page] ^= 1;
	CHECK(test_differs(own + PRIVATE * page, 4096, 4) < 0, "a page of its own has changed");
	CHECK(test_differs(own + SHARED * page, 4096, 1) < 0, "the child wrote into our private page");
	CHECK(pread(reader, &byte, 1, (off_t)(PRIVATE * page)) == 1 && byte == common[PRIVATE * page],
	      "the descriptor reads something else");
	CHECK(mprotect(read_only, length, PROT_READ | PROT_WRITE) < 0 && errno == EACCES,
	      "what was opened for reading can be mapped for writing");
	pass();
}
