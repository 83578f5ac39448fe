/*
 * title: an open file of the task's network namespace is of that namespace
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/proc/self/ns/net", O_RDONLY));
	test_daemon();
	test_waitsig();
	file_named(fd, file_name(SYS(open("/proc/self/ns/net", O_RDONLY))));
	CHECK(!strncmp(file_name(fd), "net:[", 5), "it is %s", file_name(fd));
	CHECK(SYS(fcntl(fd, F_GETFD)) == 0, "close-on-exec");
	pass();
}
