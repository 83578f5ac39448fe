/*
 * title: secret memory (memfd_secret(2)) that is mapped, and whose descriptor is closed, is refused
 * flavours: host
 * flags: crfail
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

int main(int argc, char **argv)
{
	int fd;
	char *at;

	test_init(argc, argv);
	fd = (int)syscall(SYS_memfd_secret, 0);
	if (fd < 0)
		skip("memfd_secret: %s", strerror(errno));
	SYS(ftruncate(fd, 4096));
	at = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	SYS(close(fd));
	test_fill(at, 4096, 1);
	test_daemon();
	test_waitsig();
	CHECK(test_differs(at, 4096, 1) < 0, "its contents have changed");
	pass();
}
