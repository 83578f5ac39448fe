/*
 * title: a userfaultfd that a child has inherited is refused: whose memory it is for nobody tells
 * flavours: host
 * flags: crfail
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "child.h"

int main(int argc, char **argv)
{
	struct uffdio_api api = {.api = UFFD_API};
	pid_t child;
	int fd;

	test_init(argc, argv);
	fd = (int)syscall(SYS_userfaultfd, 1); /* UFFD_USER_MODE_ONLY */
	if (fd < 0)
		skip("userfaultfd: %s", strerror(errno));
	SYS(ioctl(fd, UFFDIO_API, &api));
	child = child_fork();
	if (!child) {
		child_wait();
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(child);
	pass();
}
