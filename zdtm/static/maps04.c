/*
 * title: a large area, full, with pages here and there that nobody may touch, keeps all of it
 * flavours: host ns userns
 * timeout: 60
 */
#include "memory.h"
#include "probe.h"

#define SIZE (512 * MIB)

enum { PUNCTURES = 1000 };

int main(int argc, char **argv)
{
	static unsigned long none[PUNCTURES];
	unsigned char *memory;
	uint64_t *word;
	int sig;

	test_init(argc, argv);
	memory = map_anonymous(SIZE, MAP_PRIVATE);
	word = (void *)memory;
	/* Cheaper than test_fill(), and as good: no value is there twice. */
	for (uint64_t i = 0; i < SIZE / sizeof(*word); i++)
		word[i] = (i + 1) * 0x9e3779b97f4a7c15ULL;
	srandom((unsigned int)getpid());
	for (int i = 0; i < PUNCTURES; i++) {
		none[i] = (unsigned long)random() % (SIZE / PAGE);
		SYS(mprotect(memory + none[i] * PAGE, PAGE, PROT_NONE));
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < PUNCTURES; i++) {
		sig = probe(memory + none[i] * PAGE, PROBE_READ);
		CHECK(sig == SIGSEGV && probe_code == SEGV_ACCERR, "page %lu: signal %d", none[i], sig);
	}
	SYS(mprotect(memory, SIZE, RW));
	for (uint64_t i = 0; i < SIZE / sizeof(*word); i++)
		CHECK(word[i] == (i + 1) * 0x9e3779b97f4a7c15ULL, "word %lu is %lx", i, word[i]);
	pass();
}
