/*
 * title: memfds keep names, sizes, holes, modes, owners, flags, positions and contents, and who shares them
 * flavours: host ns userns
 */
#include "memfd.h"

enum { PAGE = 4096, COUNT = 6 };

static const struct {
	const char *name;
	unsigned flags;
	off_t size, at, position;
	int status, mode;
} kinds[COUNT] = {
	{"simple", MFD_CLOEXEC, 3 * PAGE, 0, 100, O_APPEND, 0777},
	{"", 0, 0, 0, 0, 0, 0600},
	{"hole before and after", 0, 1L << 40, (1L << 30) + 5, 1L << 41, O_NONBLOCK, 04751},
	{"not whole pages", MFD_CLOEXEC, 5 * PAGE + 5, 4 * PAGE + 7, 5 * PAGE + 5, 0, 0},
	{"new\nline, \\134, \377 and a tab\t", MFD_ALLOW_SEALING, PAGE, 0, 1, O_APPEND | O_NONBLOCK, 0777},
	{"VmFlags: rd wr (deleted)", MFD_NOEXEC_SEAL, PAGE, 17, 0, 0, 0666},
};

int main(int argc, char **argv)
{
	struct memfd_state was[COUNT], shared;
	unsigned char data[PAGE];
	int fds[COUNT], same, again;

	test_init(argc, argv);
	for (int i = 0; i < COUNT; i++) {
		size_t length = kinds[i].size - kinds[i].at < 600 ? kinds[i].size - kinds[i].at : 600;

		fds[i] = SYS(memfd_create(kinds[i].name, kinds[i].flags));
		SYS(ftruncate(fds[i], kinds[i].size));
		test_fill(data, length, (uint32_t)i);
		CHECK(pwrite(fds[i], data, length, kinds[i].at) == (ssize_t)length, "pwrite: %m");
		SYS(fchmod(fds[i], (mode_t)kinds[i].mode));
		SYS(fcntl(fds[i], F_SETFL, kinds[i].status));
		SYS(lseek(fds[i], kinds[i].position, SEEK_SET));
		was[i] = memfd_state(fds[i]);
	}
	same = SYS(dup(fds[0]));
	again = memfd_reopen(fds[0], O_RDWR | O_CLOEXEC);
	SYS(lseek(again, 200, SEEK_SET));
	shared = memfd_state(again);
	test_daemon();
	test_waitsig();
	for (int i = 0; i < COUNT; i++) {
		size_t length = kinds[i].size - kinds[i].at < 600 ? kinds[i].size - kinds[i].at : 600;

		memfd_check(fds[i], &was[i]);
		CHECK(pread(fds[i], data, length, kinds[i].at) == (ssize_t)length, "pread: %m");
		CHECK(test_differs(data, length, (uint32_t)i) < 0, "%s: contents differ", kinds[i].name);
		if (kinds[i].at) {
			CHECK(pread(fds[i], data, 1, kinds[i].at - 1) == 1 && !*data, "%s: not zero before",
			      kinds[i].name);
		}
	}
	memfd_check(again, &shared);
	CHECK(memfd_same(fds[0], again) && !memfd_same(fds[0], fds[1]), "which are the same has changed");
	SYS(lseek(fds[0], 7, SEEK_SET));
	CHECK(SYS(lseek(same, 0, SEEK_CUR)) == 7, "a duplicate has a position of its own");
	CHECK(SYS(lseek(again, 0, SEEK_CUR)) == 200, "another description has the same position");
	CHECK(write(fds[0], "x", 1) == 1 && SYS(lseek(fds[0], 0, SEEK_END)) == 3 * PAGE + 1,
	      "it does not append");
	pass();
}
