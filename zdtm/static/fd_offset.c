/*
 * title: a program's own file, open at its beginning, stays there though the dump looks into it
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char magic[SELFMAG];
	long at;
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/proc/self/exe", O_RDONLY));
	test_daemon();
	test_waitsig();
	at = SYS(lseek(fd, 0, SEEK_CUR));
	CHECK(at == 0, "the position is %ld", at);
	CHECK(read(fd, magic, SELFMAG) == SELFMAG && !memcmp(magic, ELFMAG, SELFMAG), "another file");
	pass();
}
