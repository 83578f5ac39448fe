/* For memfd03 and memfd_sealed_maps: memfds with seals of every kind. */
#include "memfd.h"

enum { PAGE = 4096 };

static const struct {
	unsigned flags;
	int seals, mode;
} kinds[] = {
	{0, 0, 0777},
	{MFD_ALLOW_SEALING, 0, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_SEAL, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_WRITE, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_GROW, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_SHRINK | F_SEAL_SEAL, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL,
	 0400},
	{MFD_ALLOW_SEALING, F_SEAL_FUTURE_WRITE, 0777},
	{MFD_ALLOW_SEALING, F_SEAL_EXEC, 0755},
	{MFD_NOEXEC_SEAL, 0, 0666},
	{MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING, F_SEAL_SHRINK, 0640},
};
enum { COUNT = sizeof(kinds) / sizeof(*kinds) };

static void check(int fd, int seals, unsigned char *mapped)
{
	bool writes = !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
	int reader = memfd_reopen(fd, O_RDONLY);
	unsigned char data[PAGE];
	struct stat file;
	void *map;

	CHECK(pread(reader, data, PAGE, 0) == PAGE && test_differs(data, PAGE, 1) < 0, "contents differ");
	CHECK(test_differs(mapped, PAGE, 1) < 0, "the mapping differs");
	SYS(close(reader));
	errno = 0;
	CHECK((pwrite(fd, data, 1, 0) == 1) == writes && (writes || errno == EPERM), "writing: %m");
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK((map != MAP_FAILED) == writes && (writes || errno == EPERM), "mapping for writing: %m");
	CHECK(!mprotect(mapped, PAGE, PROT_READ | PROT_WRITE) == writes && (writes || errno == EACCES),
	      "making the mapping writable: %m");
	CHECK(!ftruncate(fd, 2 * PAGE) == !(seals & F_SEAL_GROW), "growing: %m");
	CHECK(!ftruncate(fd, PAGE / 2) == !(seals & F_SEAL_SHRINK), "shrinking: %m");
	SYS(fstat(fd, &file));
	CHECK(!fchmod(fd, file.st_mode ^ 0100) == !(seals & F_SEAL_EXEC), "fchmod: %m");
	CHECK(!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == !(seals & F_SEAL_SEAL), "adding a seal: %m");
}

/* `maps`: mapped for reading since they were sealed. */
static void memfd_seals_run(bool maps)
{
	struct memfd_state was[COUNT];
	unsigned char *mapped[COUNT], data[PAGE];
	int fds[COUNT];

	test_fill(data, PAGE, 1);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = SYS(memfd_create("sealed", kinds[i].flags));
		CHECK(write(fds[i], data, PAGE) == PAGE, "write: %m");
		SYS(fchmod(fds[i], (mode_t)kinds[i].mode));
		if (kinds[i].seals)
			SYS(fcntl(fds[i], F_ADD_SEALS, kinds[i].seals));
		mapped[i] = maps ? SYS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fds[i], 0)) : NULL;
		was[i] = memfd_state(fds[i]);
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < COUNT; i++) {
		test_msg("seals %#x\n", was[i].seals);
		memfd_check(fds[i], &was[i]);
		if (!maps)
			mapped[i] = SYS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fds[i], 0));
		check(fds[i], was[i].seals, mapped[i]);
	}
	pass();
}
