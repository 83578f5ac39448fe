/*
 * title: private mappings, anonymous and of a file, keep place, contents and protection
 * flavours: host ns userns
 */
#include "probe.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

enum { PAGES = 5, SIZE = PAGES * PAGE, PROTECTIONS = 8, KINDS = 3 };
enum { ANONYMOUS, FILE_CHANGED, FILE_CLEAN };

struct map {
	unsigned char *memory;
	int protection, kind;
};

static struct map maps[PROTECTIONS * KINDS];
static unsigned char file_data[SIZE + PAGE];

static uint32_t seed(int i)
{
	return 100 + (uint32_t)i;
}

/* Of a file's mapping one page is changed before, so that one part comes from the file and one does not. */
static void make(int i, int fd)
{
	struct map *map = &maps[i];
	int rw = PROT_READ | PROT_WRITE;

	map->protection = i % PROTECTIONS; /* PROT_READ, PROT_WRITE and PROT_EXEC are its bits */
	map->kind = i / PROTECTIONS;
	if (map->kind == ANONYMOUS)
		map->memory = SYS(mmap(NULL, SIZE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	else
		map->memory = SYS(mmap(NULL, SIZE, rw, MAP_PRIVATE, fd, PAGE));
	if (map->kind == ANONYMOUS)
		test_fill(map->memory, SIZE, seed(i));
	else if (map->kind == FILE_CHANGED)
		test_fill(map->memory + 2 * PAGE, PAGE, seed(i));
	SYS(mprotect(map->memory, SIZE, map->protection));
}

static void check_contents(int i)
{
	const struct map *map = &maps[i];
	const unsigned char *file = file_data + PAGE;
	long at = -1;

	if (map->kind == ANONYMOUS) {
		at = test_differs(map->memory, SIZE, seed(i));
		CHECK(at < 0, "map %d: byte %ld differs", i, at);
		return;
	}
	for (int page = 0; page < PAGES; page++) {
		const unsigned char *memory = map->memory + page * PAGE;

		if (map->kind == FILE_CHANGED && page == 2)
			at = test_differs(memory, PAGE, seed(i));
		else
			at = memcmp(memory, file + page * PAGE, PAGE) ? 0 : -1;
		CHECK(at < 0, "map %d: page %d differs", i, page);
	}
}

static void check_protection(int i)
{
	const struct map *map = &maps[i];
	/* This machine lets nobody write or execute what cannot be read, and lets what can be written be
	 * read. */
	bool readable = map->protection & (PROT_READ | PROT_WRITE | PROT_EXEC);
	bool writable = map->protection & PROT_WRITE;
	unsigned char *byte = map->memory + 3 * PAGE + 5;
	int sig;

	if (map->protection == PROT_EXEC)
		return; /* protection keys may make it execute-only, or not */
	sig = probe(byte, PROBE_READ);
	CHECK(sig == (readable ? 0 : SIGSEGV), "map %d: reading raises %d", i, sig);
	sig = probe(byte, PROBE_WRITE);
	CHECK(sig == (writable ? 0 : SIGSEGV), "map %d: writing raises %d", i, sig);
}

int main(int argc, char **argv)
{
	int fd, i;

	test_init(argc, argv);
	test_fill(file_data, sizeof(file_data), 99);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_RDWR, 0600));
	CHECK(write(fd, file_data, sizeof(file_data)) == sizeof(file_data), "short write");
	for (i = 0; i < PROTECTIONS * KINDS; i++)
		make(i, fd);
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	for (i = 0; i < PROTECTIONS * KINDS; i++)
		check_protection(i);
	for (i = 0; i < PROTECTIONS * KINDS; i++) {
		SYS(mprotect(maps[i].memory, SIZE, PROT_READ | PROT_WRITE));
		check_contents(i);
	}
	memset(file_data, 0, PAGE);
	fd = SYS(open("file", O_RDONLY));
	CHECK(pread(fd, file_data, SIZE, PAGE) == SIZE, "short read");
	CHECK(!memcmp(file_data, maps[PROTECTIONS * FILE_CLEAN].memory, SIZE), "the file itself has changed");
	pass();
}
