/*
 * title: an open procfs file of the first process is that file
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	char text[64] = "";
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/proc/1/status", O_RDONLY));
	test_daemon();
	test_waitsig();
	CHECK(file_same(fd, SYS(open("/proc/1/status", O_RDONLY))), "another file");
	CHECK(SYS(read(fd, text, sizeof(text) - 1)) > 6 && !strncmp(text, "Name:\t", 6), "it holds %s", text);
	pass();
}
