/*
 * title: duplicated descriptors share their position, separately opened ones do not
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

static long position(int fd)
{
	return SYS(lseek(fd, 0, SEEK_CUR));
}

int main(int argc, char **argv)
{
	int first, copy, far, own;

	test_init(argc, argv);
	first = SYS(open("file", O_CREAT | O_EXCL | O_RDWR, 0600));
	CHECK(write(first, "0123456789abcdef", 16) == 16, "short write");
	own = SYS(open("file", O_RDWR));
	copy = SYS(dup(first));
	far = SYS(fcntl(first, F_DUPFD_CLOEXEC, 500));
	SYS(lseek(first, 5, SEEK_SET));
	SYS(lseek(own, 11, SEEK_SET));
	test_daemon();
	test_waitsig();
	CHECK(position(first) == 5 && position(copy) == 5 && position(far) == 5 && position(own) == 11,
	      "positions are %ld %ld %ld and %ld", position(first), position(copy), position(far),
	      position(own));
	SYS(lseek(far, 7, SEEK_SET));
	CHECK(position(first) == 7 && position(copy) == 7, "what was duplicated is not shared");
	CHECK(position(own) == 11, "what was opened separately is shared");
	SYS(fcntl(copy, F_SETFL, O_APPEND));
	CHECK(fcntl(first, F_GETFL) & O_APPEND, "flags are not shared");
	CHECK(!(fcntl(own, F_GETFL) & O_APPEND), "flags of what was opened separately are shared");
	CHECK(fcntl(far, F_GETFD) == FD_CLOEXEC && fcntl(copy, F_GETFD) == 0, "close-on-exec is shared");
	pass();
}
