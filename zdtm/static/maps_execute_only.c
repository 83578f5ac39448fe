/*
 * title: code that may only be executed is there, is executed, and can be read or not as it could before
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

enum { KINDS = 2, PAGES = 3, SEED = 50 };

static int execute(unsigned char *code)
{
	int sig = probe(code, PROBE_EXECUTE);

	return sig ? sig : probe(code + 2 * PAGE, PROBE_EXECUTE);
}

int main(int argc, char **argv)
{
	unsigned char *code[KINDS];
	int fd, read_before[KINDS];
	char flags[KINDS][SMAPS_LINE], now[SMAPS_LINE];

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	for (int i = 0; i < KINDS; i++) {
		code[i] = map_nothing((PAGES + 2) * PAGE) + PAGE;
		SYS(mmap(code[i], PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED | (i ? 0 : MAP_ANONYMOUS),
			 i ? fd : -1, 0));
		/* The one between is left alone. */
		memcpy(code[i], probe_return_instruction, sizeof(probe_return_instruction));
		memcpy(code[i] + 2 * PAGE, probe_return_instruction, sizeof(probe_return_instruction));
		SYS(mprotect(code[i], PAGES * PAGE, PROT_EXEC));
		CHECK(!execute(code[i]), "the code does not run from the start");
		read_before[i] = probe(code[i], PROBE_READ);
		smaps(code[i], 1, "VmFlags", flags[i]);
	}
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++) {
		int sig = execute(code[i]);

		CHECK(!sig, "map %d: signal %d instead of executing", i, sig);
		sig = probe(code[i], PROBE_READ);
		CHECK(sig == read_before[i], "map %d: reading raises %d instead of %d", i, sig,
		      read_before[i]);
		CHECK(probe(code[i], PROBE_WRITE) == SIGSEGV, "map %d: can be written", i);
		smaps(code[i], 1, "VmFlags", now);
		CHECK(!strcmp(now, flags[i]), "map %d: flags are%s instead of%s", i, now, flags[i]);
		SYS(mprotect(code[i], PAGES * PAGE, RW));
		if (i)
			pages_check(code[i] + PAGE, 1, SEED + 1, "of the file");
		else
			zeros_check(code[i] + PAGE, 1, "left alone");
		CHECK(!memcmp(code[i], probe_return_instruction, sizeof(probe_return_instruction)),
		      "map %d: no code", i);
	}
	pass();
}
