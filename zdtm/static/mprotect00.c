/*
 * title: pages of one mapping with protections of their own allow and refuse what they did
 * flavours: host ns userns
 */
#include "probe.h"

#include <sys/mman.h>

#define PAGE 4096

static const int protections[] = {
	PROT_NONE,
	PROT_READ,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
};
enum { PAGES = sizeof(protections) / sizeof(protections[0]) };

int main(int argc, char **argv)
{
	unsigned char *memory;
	int i, access;

	test_init(argc, argv);
	memory = SYS(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory, PAGES * PAGE, 7);
	for (i = 0; i < PAGES; i++) {
		memcpy(memory + i * PAGE, probe_return_instruction, sizeof(probe_return_instruction));
		SYS(mprotect(memory + i * PAGE, PAGE, protections[i]));
	}
	test_daemon();
	test_waitsig();
	for (i = 0; i < PAGES; i++) {
		const int needs[] = {PROT_READ, PROT_WRITE, PROT_EXEC};

		for (access = PROBE_READ; access <= PROBE_EXECUTE; access++) {
			bool allowed = protections[i] & needs[access];
			int sig = probe(memory + i * PAGE, (enum probe_access)access);

			CHECK(sig == (allowed ? 0 : SIGSEGV), "page %d, access %d: signal %d", i, access,
			      sig);
			CHECK(!sig || probe_code == SEGV_ACCERR, "page %d, access %d: code %d", i, access,
			      probe_code);
		}
	}
	/* What no one could read is there all the same. */
	SYS(mprotect(memory, PAGES * PAGE, PROT_READ | PROT_WRITE));
	for (i = 0; i < PAGES; i++) {
		CHECK(!memcmp(memory + i * PAGE, probe_return_instruction, sizeof(probe_return_instruction)),
		      "page %d has lost its instruction", i);
		memory[i * PAGE] = 0;
	}
	pass();
}
