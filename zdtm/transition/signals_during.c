/*
 * title: a stream of numbered signals from a child arrives whole and in order, once each, through the dump
 * flavours: host ns userns
 */
#include "../static/signals.h"

#include <sys/wait.h>

/*
 * Under way are always some, and never more than the queue holds: with each of the two kinds the receiver
 * leaves one, so that whoever looks sees them pending at any time.
 */
enum { AHEAD = 40, KINDS = 2 };

static struct {
	uint32_t sent, received, stop;
} *common;

static siginfo_t numbered(pid_t sender, uint32_t number)
{
	siginfo_t info = siginfo_make(SIGRTMIN + (int)(number % KINDS), SI_QUEUE, number);

	info.si_pid = sender;
	return info;
}

static void sender(pid_t receiver)
{
	uint32_t number;

	for (number = 0; !__atomic_load_n(&common->stop, __ATOMIC_SEQ_CST); number++) {
		siginfo_t info = numbered(getpid(), number);

		while (number >= __atomic_load_n(&common->received, __ATOMIC_SEQ_CST) + AHEAD)
			test_await(&common->received, number - AHEAD + 1);
		queue_to_process(receiver, &info);
		test_post(&common->sent);
	}
	_exit(0);
}

/* The next of a kind is the oldest: kinds take turns. */
static void receive(pid_t child)
{
	siginfo_t want = numbered(child, common->received);

	signal_expect(&want);
	test_post(&common->received);
}

int main(int argc, char **argv)
{
	pid_t child, self;

	test_init(argc, argv);
	self = getpid();
	common = test_shared(sizeof(*common));
	mask_set(mask_bit(SIGRTMIN) | mask_bit(SIGRTMIN + 1));
	child = SYS(fork());
	if (!child)
		sender(self);
	test_await(&common->sent, AHEAD);
	test_daemon();
	while (test_go()) {
		test_await(&common->sent, common->received + KINDS + 1);
		receive(child);
	}
	__atomic_store_n(&common->stop, 1, __ATOMIC_SEQ_CST);
	/* It may wait for room. */
	receive(child);
	test_reap(child);
	while (common->received < common->sent)
		receive(child);
	CHECK(!pending_get(), "%#llx is pending after %u signals", (long long)pending_get(), common->sent);
	test_msg("%u signals\n", common->sent);
	pass();
}
