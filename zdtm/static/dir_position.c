/*
 * title: a directory that is half read is read on where it was
 * flavours: host ns userns
 */
#include <dirent.h>

#include "files.h"

enum { FILES = 500, FIRST = 200 };

int main(int argc, char **argv)
{
	unsigned char seen[FILES] = "";
	struct dirent *entry;
	int count = 0, fd;
	char name[64];
	long at;
	DIR *dir;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "dir/%d", i);
		SYS(close(SYS(open(name, O_CREAT | O_WRONLY, 0600))));
	}
	fd = SYS(open("dir", O_RDONLY | O_DIRECTORY));
	dir = fdopendir(fd);
	CHECK(dir, "fdopendir: %m");
	/* So much that the kernel has been asked again. */
	while (count < FIRST && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			seen[atoi(entry->d_name)]++;
			count++;
		}
	/* The kernel's own position, behind what the library has already read. */
	at = telldir(dir);
	seekdir(dir, at);
	at = SYS(lseek(fd, 0, SEEK_CUR));
	CHECK(at > 0, "the position is %ld", at);
	test_daemon();
	test_waitsig();
	file_position(fd, at);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			seen[atoi(entry->d_name)]++;
			count++;
		}
	CHECK(count == FILES, "%d names instead of %d", count, FILES);
	for (int i = 0; i < FILES; i++)
		CHECK(seen[i] == 1, "%d was there %d times", i, seen[i]);
	pass();
}
