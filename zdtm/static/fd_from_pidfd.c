/*
 * title: an end of a child's pipe, taken through a pidfd, is still the same description, with the same data
 * flavours: host ns userns
 */
#include "pidfd.h"

#include "child.h"

static const char text[] = "in the pipe since before";

int main(int argc, char **argv)
{
	struct words {
		uint32_t told, read;
		int end;
	} *words;
	char got[sizeof(text)] = "";
	int fd, end, status;
	pid_t child;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	child = child_fork();
	if (!child) {
		int fds[2];

		SYS(pipe(fds));
		CHECK(SYS(write(fds[1], text, sizeof(text))) == sizeof(text), "a short write");
		words->end = fds[0];
		child_wait();
		CHECK(SYS(fcntl(fds[0], F_GETFL)) & O_NONBLOCK, "the other's flags are not this one's");
		test_post(&words->told);
		for (;;)
			pause();
	}
	fd = pidfd_of(child, 0);
	child_await();
	end = (int)SYS(syscall(SYS_pidfd_getfd, fd, words->end, 0));
	test_daemon();
	test_waitsig();
	pidfd_check(fd, child, 0, FD_CLOEXEC);
	CHECK(!SYS(syscall(SYS_kcmp, getpid(), child, 0, end, words->end)), "two descriptions");
	SYS(fcntl(end, F_SETFL, O_NONBLOCK));
	child_go();
	test_await(&words->told, 1);
	CHECK(SYS(read(end, got, sizeof(got))) == sizeof(got) && !memcmp(got, text, sizeof(text)),
	      "'%s' is read", got);
	CHECK(!pidfd_signal(fd, SIGKILL), "pidfd_send_signal: %s", strerror(errno));
	CHECK(SYS(waitpid(child, &status, 0)) == child && WIFSIGNALED(status), "its status is %#x", status);
	pass();
}
