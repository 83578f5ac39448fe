/*
 * title: ten deleted files of nearly a gigabyte, sparse
 * flavours: ns userns
 * opts: --ghost-limit 1G
 * timeout: 60
 */
#include "holes.h"

enum { FILES = 10 };

int main(int argc, char **argv)
{
	const off_t size = (off_t)951 << 20;
	const struct piece pieces[] = {{(off_t)3 << 20, 5 * BLOCK}, {size - BLOCK, BLOCK}};
	char name[FILES][64], want[PATH_MAX];
	int fds[FILES];

	test_init(argc, argv);
	for (int i = 0; i < FILES; i++) {
		snprintf(name[i], sizeof(name[i]), "file-%d", i);
		fds[i] = holes_make(name[i], pieces, 2, size);
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < FILES; i++) {
		snprintf(want, sizeof(want), "%s" DELETED, test_path(name[i]));
		file_named(fds[i], want);
		holes_check(fds[i], pieces, 2, size);
	}
	pass();
}
