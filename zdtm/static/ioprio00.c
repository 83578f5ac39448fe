/*
 * title: the I/O priority is each thread's own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { WHO_PROCESS = 1, BEST_EFFORT = 2, IDLE = 3 };
#define PRIORITY(class, level) ((class) << 13 | (level))

/* The second to last is what nobody has set. */
static const int settings[] = {
	PRIORITY(BEST_EFFORT, 0), PRIORITY(BEST_EFFORT, 7), PRIORITY(IDLE, 0), PRIORITY(BEST_EFFORT, 3), 0,
	PRIORITY(IDLE, 0)};

static void body(int number)
{
	long now;

	if (settings[number])
		SYS(syscall(SYS_ioprio_set, WHO_PROCESS, 0, settings[number]));
	each_wait();
	now = SYS(syscall(SYS_ioprio_get, WHO_PROCESS, 0));
	CHECK(now == settings[number], "%d: I/O priority %#lx instead of %#x", number, now, settings[number]);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	CHECK(!SYS(syscall(SYS_ioprio_get, WHO_PROCESS, 0)), "there is an I/O priority from the start");
	each_start(sizeof(settings) / sizeof(*settings), body);
	test_daemon();
	test_waitsig();
	CHECK(!SYS(syscall(SYS_ioprio_get, WHO_PROCESS, 0)), "the test itself has an I/O priority now");
	each_end();
	pass();
}
