/*
 * title: what goes into a core dump is each process's own choice
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char file[] = "/proc/self/coredump_filter";

static void choose(const char *filter)
{
	int fd = SYS(open(file, O_WRONLY));

	CHECK(write(fd, filter, strlen(filter)) == (ssize_t)strlen(filter), "%s: %m", file);
	SYS(close(fd));
}

static void check(const char *who, unsigned long wanted)
{
	unsigned long now = strtoul(test_read_file(file, NULL), NULL, 16);

	CHECK(now == wanted, "%s has %#lx instead of %#lx", who, now, wanted);
}

int main(int argc, char **argv)
{
	unsigned long usual;
	pid_t child, plain;
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	usual = strtoul(test_read_file(file, NULL), NULL, 16);
	plain = SYS(fork());
	if (!plain) {
		test_post(&words[0]);
		test_await(&words[1], 1);
		check("a child that chose nothing", usual);
		_exit(0);
	}
	child = SYS(fork());
	if (!child) {
		choose("0");
		test_post(&words[0]);
		test_await(&words[1], 1);
		check("a child that chose nothing to be in it", 0);
		_exit(0);
	}
	choose("0x1a5");
	test_await(&words[0], 2);
	test_daemon();
	test_waitsig();
	check("the test", 0x1a5);
	test_post(&words[1]);
	test_reap(child);
	test_reap(plain);
	pass();
}
