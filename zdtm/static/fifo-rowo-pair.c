/*
 * title: two FIFOs between parent and child, each with one end here and one there, and something on its way
 * flavours: host ns userns
 */
#include "fifo.h"

struct words {
	uint32_t ready, go;
};

static _Noreturn void child(struct words *words)
{
	int in = fifo_open("down", O_RDONLY), out = fifo_open("up", O_WRONLY), value;

	value = 0x1234567;
	fd_put(out, &value, sizeof(value));
	test_post(&words->ready);
	test_await(&words->go, 1);
	check_flags(in, O_RDONLY, 0);
	check_flags(out, O_WRONLY, 0);
	fd_get(in, &value, sizeof(value));
	CHECK(value == 0x7654321, "the child reads %#x", value);
	value++;
	fd_put(out, &value, sizeof(value));
	check_ended(in);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct words *words;
	int in, out, value;
	pid_t pid;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	fifo_make("down", 0600);
	fifo_make("up", 0600);
	pid = SYS(fork());
	if (!pid)
		child(words);
	out = fifo_open("down", O_WRONLY);
	in = fifo_open("up", O_RDONLY);
	value = 0x7654321;
	fd_put(out, &value, sizeof(value));
	test_await(&words->ready, 1);
	test_daemon();
	test_waitsig();
	check_flags(in, O_RDONLY, 0);
	check_flags(out, O_WRONLY, 0);
	check_waiting(in, sizeof(value));
	fd_get(in, &value, sizeof(value));
	CHECK(value == 0x1234567, "the parent reads %#x", value);
	test_post(&words->go);
	fd_get(in, &value, sizeof(value));
	CHECK(value == 0x7654322, "the parent reads %#x", value);
	SYS(close(out));
	test_reap(pid);
	check_ended(in);
	pass();
}
