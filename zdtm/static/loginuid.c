/*
 * title: the login uid stays, once it is set
 * flavours: host ns userns
 * needs: loginuid
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char file[] = "/proc/self/loginuid";

static void check(const char *who, unsigned long wanted)
{
	unsigned long now = strtoul(test_read_file(file, NULL), NULL, 10);

	CHECK(now == wanted, "the login uid of %s is %lu instead of %lu", who, now, wanted);
}

int main(int argc, char **argv)
{
	unsigned long usual;
	uint32_t *words;
	pid_t child;
	int fd;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	usual = strtoul(test_read_file(file, NULL), NULL, 10);
	child = SYS(fork());
	if (!child) {
		test_post(&words[0]);
		test_await(&words[1], 1);
		check("the child", usual);
		_exit(0);
	}
	fd = SYS(open(file, O_WRONLY));
	if (write(fd, "3", 1) < 0)
		skip("the login uid was set to %lu before: %s", usual, strerror(errno));
	SYS(close(fd));
	test_await(&words[0], 1);
	test_daemon();
	test_waitsig();
	check("the test", 3);
	test_post(&words[1]);
	test_reap(child);
	pass();
}
