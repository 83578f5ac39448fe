/*
 * For tests of sparse files: pieces of data with holes between them, in an open file that has been deleted.
 *
 * The layout is an array of (offset, length) of data in ascending order, in whole blocks.
 */
#ifndef HOLES_H
#define HOLES_H

#include "files.h"

enum { BLOCK = 4096 };

struct piece {
	off_t offset, length;
};

static inline int holes_make(const char *name, const struct piece *pieces, int count, off_t size)
{
	int fd = SYS(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	unsigned char *data;

	for (int i = 0; i < count; i++) {
		data = malloc((size_t)pieces[i].length);
		CHECK(data, "out of memory");
		test_fill(data, (size_t)pieces[i].length, (uint32_t)i);
		CHECK(pwrite(fd, data, (size_t)pieces[i].length, pieces[i].offset) == pieces[i].length,
		      "a short write");
		free(data);
	}
	SYS(ftruncate(fd, size));
	/* Extents are told of what has been written back. */
	SYS(fsync(fd));
	SYS(unlink(name));
	return fd;
}

static inline void holes_check(int fd, const struct piece *pieces, int count, off_t size)
{
	struct stat st = file_stat(fd);
	off_t at = 0, blocks = 0;

	CHECK(st.st_size == size, "%ld bytes instead of %ld", (long)st.st_size, (long)size);
	for (int i = 0; i < count; i++) {
		off_t data = SYS(lseek(fd, at, SEEK_DATA));

		CHECK(data == pieces[i].offset, "piece %d is at %ld instead of %ld", i, (long)data,
		      (long)pieces[i].offset);
		file_holds_at(fd, data, (size_t)pieces[i].length, (uint32_t)i);
		at = SYS(lseek(fd, data, SEEK_HOLE));
		CHECK(at == data + pieces[i].length, "piece %d ends at %ld instead of %ld", i, (long)at,
		      (long)(data + pieces[i].length));
		blocks += pieces[i].length / 512;
	}
	CHECK(at == size || (lseek(fd, at, SEEK_DATA) < 0 && errno == ENXIO),
	      "there is data in the last hole");
	/* A file system may need a few for itself. */
	CHECK(st.st_blocks <= blocks + 2 * BLOCK / 512 * (1 + count / 64), "%ld blocks instead of %ld",
	      (long)st.st_blocks, (long)blocks);
}

/* The whole test. */
static inline _Noreturn void holes_test(const struct piece *pieces, int count, off_t size)
{
	int fd = holes_make("file", pieces, count, size);

	holes_check(fd, pieces, count, size);
	SYS(lseek(fd, 0, SEEK_SET));
	test_daemon();
	test_waitsig();
	file_position(fd, 0);
	holes_check(fd, pieces, count, size);
	file_links(fd, 0);
	file_absent("file");
	pass();
}

#endif
