/* CRC32C (Castagnoli, RFC 3720 B.4) of a file's bytes, read in chunks: by the CPU's instruction where it has
 * one. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

#define POLYNOMIAL 0x82f63b78u /* bits reversed */
#define CHUNK	   (64 * 1024ul)
#define SPARSE	   4096ul /* from this period on, single bytes are read */

struct crc {
	int hardware;
	uint32_t value;
	uint32_t table[256];
};

static void add_by_table(struct crc *c, const unsigned char *at, unsigned long size)
{
	while (size--)
		c->value = c->value >> 8 ^ c->table[(c->value ^ *at++) & 0xff];
}

#ifdef __x86_64__
static int has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static void add_by_instruction(struct crc *c, const unsigned char *at,
								 unsigned long size)
{
	uint64_t value = c->value, word;

	for (; size >= sizeof(word); size -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		value = __builtin_ia32_crc32di(value, word);
	}
	while (size--)
		value = __builtin_ia32_crc32qi(value, *at++);
	c->value = value;
}
#else
static int has_instruction(void)
{
	return 0;
}
#define add_by_instruction add_by_table
#endif

static void begin(struct crc *c, int table)
{
	c->value = ~0u;
	c->hardware = !table && has_instruction();
	for (uint32_t i = 0; i < 256 && !c->hardware; i++) {
		uint32_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v & 1 ? v >> 1 ^ POLYNOMIAL : v >> 1;
		c->table[i] = v;
	}
}

static void add(struct crc *c, const unsigned char *at, unsigned long size)
{
	if (c->hardware)
		add_by_instruction(c, at, size);
	else
		add_by_table(c, at, size);
}

/*
 * Of every `period`th byte, the first one included, of the first `limit` bytes; all of them for 0. `table`:
 * not by the CPU's instruction. The CRC goes into *crc.
 */
int zd_crc32c(int fd, unsigned long limit, unsigned long period, int table, unsigned *crc)
{
	unsigned char buf[CHUNK];
	struct crc c;
	unsigned long at = 0; /* the next byte that counts, but for a period of 1 the next one of all */

	begin(&c, table);
	limit = limit ? limit : ~0ul >> 1;
	while (at < limit) {
		unsigned long want = period >= SPARSE ? 1 : limit - at < CHUNK ? limit - at : CHUNK;
		long got = pread(fd, buf, want, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		if (period == 1) {
			add(&c, buf, got);
			at += got;
			continue;
		}
		unsigned long next = 0;

		for (; next < (unsigned long)got; next += period)
			add(&c, buf + next, 1);
		at += next;
	}
	*crc = ~c.value;
	return 0;
}
