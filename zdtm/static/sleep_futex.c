/*
 * title: a wait for a futex goes on until its time is over
 * flavours: host ns userns
 * ignore: sigterm
 */
#include "timed.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec length = {TIMED_MS / 1000, TIMED_MS % 1000 * 1000000L};
	static uint32_t word = 1;
	long started, result;

	test_init(argc, argv);
	started = timed_start();
	result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &length, NULL, 0);
	CHECK(result == -1 && errno == ETIMEDOUT, "futex returned %ld: %m", result);
	timed_check(started);
}
