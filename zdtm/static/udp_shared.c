/*
 * title: UDP sockets that tasks share by fork, by further descriptors and over exec stay shared
 * flavours: host ns userns
 */
#include "program.h"
#include "udp.h"

enum { SHARED = 41, AGAIN = 42, CLOSED = 43 };

struct shared {
	uint32_t ready, go;
};

/* Another program that has what was open over exec. */
static void copy(char **argv)
{
	struct shared *shared = program_shared(argv[2], sizeof(*shared));

	CHECK(fcntl(CLOSED, F_GETFD) == -1, "what is close-on-exec is open");
	test_post(&shared->ready);
	test_await(&shared->go, 1);
	CHECK(fcntl(SHARED, F_GETFL) & O_NONBLOCK, "a flag that was set by the parent is not seen");
	CHECK(!fcntl(SHARED, F_GETFD), "it is close-on-exec");
	udp_to(SHARED, "by the child", SHARED);
	test_post(&shared->ready);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct shared *shared;
	int value = 0;
	socklen_t length = sizeof(value);
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "child"))
		copy(argv);
	test_init(argc, argv);
	program_copy("copy");
	shared = test_shared(sizeof(*shared));
	SYS(dup2(udp_bound(AF_INET, 0, 0), SHARED));
	SYS(dup2(SHARED, AGAIN));
	SYS(dup3(udp_bound(AF_INET, 0, 0), CLOSED, O_CLOEXEC));
	pid = SYS(fork());
	if (!pid) {
		char *arguments[] = {"copy", "child", (char *)test_path("shared-0"), NULL};

		execv("copy", arguments);
		fail("execv: %m");
	}
	test_await(&shared->ready, 1);
	test_daemon();
	test_waitsig();
	CHECK(fcntl(CLOSED, F_GETFD) == FD_CLOEXEC && !fcntl(AGAIN, F_GETFD), "close-on-exec");
	SYS(fcntl(AGAIN, F_SETFL, O_NONBLOCK));
	value = 1;
	SYS(setsockopt(AGAIN, SOL_SOCKET, SO_BROADCAST, &value, sizeof(value)));
	value = 0;
	SYS(getsockopt(SHARED, SOL_SOCKET, SO_BROADCAST, &value, &length));
	CHECK(value == 1, "an option of one description is not the other's");
	CHECK(udp_port(CLOSED) != udp_port(SHARED), "two sockets became one");
	test_post(&shared->go);
	test_await(&shared->ready, 2);
	udp_comes(AGAIN, "by the child", SHARED, "who shares");
	udp_silent(SHARED, "who shares");
	test_reap(pid);
	pass();
}
