/*
 * title: the time of a change made through a shared mapping stays what it was
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat first, before, after;
	char *memory;
	int fd;

	test_init(argc, argv);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_RDWR, 0600));
	SYS(ftruncate(fd, 8192));
	memory = SYS(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	SYS(fstat(fd, &first));
	usleep(20000);
	memory[4097] = 'x';
	SYS(msync(memory, 8192, MS_SYNC));
	SYS(fstat(fd, &before));
	CHECK(memcmp(&first.st_mtim, &before.st_mtim, sizeof(first.st_mtim)), "writing changed no time");
	test_daemon();
	test_waitsig();
	SYS(fstat(fd, &after));
	CHECK(!memcmp(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim)),
	      "the file was changed at %ld.%09ld, and now at %ld.%09ld", before.st_mtim.tv_sec,
	      before.st_mtim.tv_nsec, after.st_mtim.tv_sec, after.st_mtim.tv_nsec);
	CHECK(memory[4097] == 'x', "the mapping lost the byte");
	memory[0] = 'y';
	CHECK(pread(fd, &memory[1], 1, 0) == 1 && memory[1] == 'y',
	      "the mapping is not shared with the file");
	pass();
}
