/*
 * title: what an epoll watches and only the kernel has any more, for a request, is refused
 * flavours: host ns userns
 * flags: crfail
 */
#include "epoll.h"

#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/syscall.h>

int main(int argc, char **argv)
{
	struct iocb request = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = POLLIN}, *requests[] = {&request};
	aio_context_t context = 0;
	int ep, fd;

	test_init(argc, argv);
	ep = epoll_make();
	fd = SYS(eventfd(0, 0));
	epoll_add(ep, fd, EPOLLIN, 1);
	SYS(syscall(SYS_io_setup, 1, &context));
	request.aio_fildes = (uint32_t)fd;
	CHECK(SYS(syscall(SYS_io_submit, context, 1, requests)) == 1, "no request is under way");
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	CHECK(fdinfo_count(ep, "tfd:") == 1, "the epoll watches nothing");
	pass();
}
