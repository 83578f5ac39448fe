/*
 * title: a process has the expedited membarriers that it registered for, and another one has none
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A command, and the one that registers for it. */
static const struct {
	int command, registration;
} kinds[] = {
	{MEMBARRIER_CMD_GLOBAL_EXPEDITED, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED},
	{MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED},
	{MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE},
	{MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds), GET_REGISTRATIONS = 1 << 9 };

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* Everybody may do the global one: its registration is for being reached. */
static void check(int available, int registered)
{
	int i, now = membarrier(GET_REGISTRATIONS);

	CHECK(now == registered || now < 0, "registered is %#x, not %#x", now, registered);
	for (i = 0; i < KINDS; i++) {
		int result = membarrier(kinds[i].command);

		if (!(available & kinds[i].command))
			continue;
		if (registered & kinds[i].registration || kinds[i].command == MEMBARRIER_CMD_GLOBAL_EXPEDITED)
			CHECK(!result, "command %#x: %s", kinds[i].command, strerror(errno));
		else
			CHECK(result == -1 && errno == EPERM, "command %#x works without registration",
			      kinds[i].command);
	}
}

int main(int argc, char **argv)
{
	uint32_t *told;
	int i, available, registered = 0;
	pid_t child;

	test_init(argc, argv);
	told = test_shared(sizeof(*told));
	available = membarrier(MEMBARRIER_CMD_QUERY);
	if (available < 0)
		skip("membarrier: %s", strerror(errno));
	child = SYS(fork());
	if (!child) {
		check(available, 0);
		test_post(told);
		test_await(told, 2);
		check(available, 0);
		_exit(0);
	}
	test_await(told, 1);
	for (i = 0; i < KINDS; i++)
		if (available & kinds[i].registration) {
			SYS(membarrier(kinds[i].registration));
			registered |= kinds[i].registration;
		}
	check(available, registered);
	test_daemon();
	test_waitsig();
	check(available, registered);
	test_post(told);
	test_reap(child);
	pass();
}
