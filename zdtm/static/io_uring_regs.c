/*
 * title: registered files and buffers of io_urings, sparse ones too; a child and an epoll have one as well
 * flavours: host ns userns
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "uring.h"

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

enum { SIZE = 8192, FILES = 5, BUFFERS = 4 };

static char *memory, text[] = "what a file has in it";

static void set_up(struct ring *r, unsigned flags, int file, int out)
{
	int files[FILES] = {-1, file, -1, out, file};
	struct iovec buffers[BUFFERS] = {[1] = {memory, 4096}, [3] = {memory + 5000, 100}};

	ring_make(r, 8, flags, 0);
	ring_nops(r, 13);
	SYS(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, files, FILES));
	SYS(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, buffers, BUFFERS));
}

static void fixed(struct ring *r, uint8_t code, int file, int buffer, char *at, unsigned length, int result)
{
	struct io_uring_sqe *sqe = ring_put(r, code, 100 + file);

	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = file;
	sqe->addr = (uintptr_t)at;
	sqe->len = length;
	sqe->off = -1;
	sqe->buf_index = buffer;
	ring_submit(r, 1, 1);
	ring_expect(r, 100 + file, result);
}

static void check(struct ring *r, int file, int out)
{
	char got[sizeof(text)] = "";

	SYS(lseek(file, 7, SEEK_SET)); /* the position that the registered file has, too */
	memset(memory, 0, SIZE);
	fixed(r, IORING_OP_READ_FIXED, 1, 1, memory + 10, 4000, sizeof(text) - 7);
	CHECK(!strcmp(memory + 10, text + 7), "read '%s'", memory + 10);
	CHECK(lseek(file, 0, SEEK_CUR) == sizeof(text), "another description is registered");
	SYS(lseek(file, 0, SEEK_SET));
	fixed(r, IORING_OP_READ_FIXED, 4, 3, memory + 5000, 100, sizeof(text));
	fixed(r, IORING_OP_WRITE_FIXED, 3, 3, memory + 5000, sizeof(text), sizeof(text));
	CHECK(lseek(out, 0, SEEK_CUR) == sizeof(text), "another description is registered");
	SYS(pread(out, got, sizeof(got), 0));
	CHECK(!strcmp(got, text), "'%s' was written", got);
	SYS(lseek(out, 0, SEEK_SET));
	fixed(r, IORING_OP_READ_FIXED, 1, 3, memory + 4999, 2, -EFAULT);
	fixed(r, IORING_OP_READ_FIXED, 1, 2, memory + 5000, 2, -EFAULT);
	fixed(r, IORING_OP_READ_FIXED, 2, 1, memory, 2, -EBADF);
	SYS(syscall(SYS_io_uring_register, r->fd, IORING_UNREGISTER_FILES, NULL, 0));
	SYS(syscall(SYS_io_uring_register, r->fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
}

int main(int argc, char **argv)
{
	struct ring plain, alone, shared;
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 12};
	int file, out, epoll, pidfd, *foreign;
	uint32_t *words;
	pid_t child, sharer;

	test_init(argc, argv);
	words = test_shared(4096);
	foreign = (int *)words + 2;
	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	file = SYS(open("a file of\ttwo words", O_RDWR | O_CREAT, 0600));
	SYS(write(file, text, sizeof(text)));
	out = SYS(open("out", O_RDWR | O_CREAT, 0600));
	ring_make(&shared, 8, 0, 0);
	ring_nops(&shared, 30);
	epoll = SYS(epoll_create1(0));
	SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, shared.fd, &event));
	child = SYS(fork());
	if (!child) {
		int other = SYS(dup(shared.fd));
		struct ring own;

		ring_make(&own, 8, DEFER, 0);
		ring_nops(&own, 3);
		*foreign = own.fd;
		test_post(&words[1]);
		test_await(&words[0], 1);
		ring_expect(&shared, 40, 0);
		SYS(close(shared.fd));
		shared.fd = other;
		ring_nops(&own, 20);
		ring_nops(&shared, 20);
		ring_put(&shared, IORING_OP_NOP, 41);
		ring_submit(&shared, 1, 1);
		_exit(0);
	}
	test_await(&words[1], 1);
	pidfd = SYS(syscall(SYS_pidfd_open, child, 0));
	*foreign = (int)SYS(syscall(SYS_pidfd_getfd, pidfd, *foreign, 0));
	SYS(close(pidfd));
	/* with the same descriptors, and memory of its own */
	sharer = (pid_t)SYS(syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0));
	if (!sharer) {
		test_await(&words[0], 2);
		ring_nops(&shared, 20);
		_exit(0);
	}
	set_up(&plain, 0, file, out);
	set_up(&alone, DEFER, file, out);
	test_daemon();
	test_waitsig();
	check(&plain, file, out);
	check(&alone, file, out);
	CHECK(syscall(SYS_io_uring_register, *foreign, IORING_UNREGISTER_FILES, NULL, 0) == -1 &&
		      errno == EEXIST,
	      "the child's ring is not its own");
	CHECK(epoll_wait(epoll, &event, 1, 0) == 0, "there is no completion");
	ring_put(&shared, IORING_OP_NOP, 40);
	ring_submit(&shared, 1, 1);
	CHECK(epoll_wait(epoll, &event, 1, 0) == 1 && event.data.u32 == 12, "the epoll has lost its ring");
	test_post(&words[0]);
	test_reap(child);
	ring_expect(&shared, 41, 0);
	test_post(&words[0]);
	test_reap(sharer);
	pass();
}
