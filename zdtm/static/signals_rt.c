/*
 * title: of a queue that is full up to RLIMIT_SIGPENDING every signal is there, in order, and no other
 * flavours: host ns userns
 */
#include "signals.h"

#include <stdio.h>
#include <sys/resource.h>

enum { ROOM = 300, SIGNALS = 3 };

/* The limit is one for all processes of the user: what they have queued is part of it. */
static unsigned long queued_by_user(void)
{
	char *text = test_read_file("/proc/self/status", NULL), *at = strstr(text, "\nSigQ:");
	unsigned long count;

	CHECK(at && sscanf(at, "\nSigQ: %lu", &count) == 1, "status has no SigQ");
	return count;
}

static siginfo_t numbered(unsigned int i)
{
	return siginfo_make(SIGRTMIN + (int)(i % SIGNALS), SI_QUEUE, i);
}

/* Queue from this number on until the kernel refuses; every other one to the thread. */
static unsigned int fill(unsigned int from)
{
	unsigned int i;

	for (i = from;; i++) {
		siginfo_t info = numbered(i);
		long result = i % 2 ? syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), info.si_signo, &info)
				    : syscall(SYS_rt_sigqueueinfo, getpid(), info.si_signo, &info);

		if (result && errno == EAGAIN)
			return i - from;
		SYS(result);
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit, now;
	unsigned int i, j, count, more;
	uint64_t all = 0;

	test_init(argc, argv);
	for (i = 0; i < SIGNALS; i++)
		all |= mask_bit(SIGRTMIN + (int)i);
	mask_set(all);
	limit.rlim_cur = limit.rlim_max = queued_by_user() + ROOM;
	SYS(setrlimit(RLIMIT_SIGPENDING, &limit));
	count = fill(0);
	CHECK(count > ROOM / 2, "only %u were queued", count);
	test_daemon();
	test_waitsig();
	SYS(getrlimit(RLIMIT_SIGPENDING, &now));
	CHECK(now.rlim_cur == limit.rlim_cur && now.rlim_max == limit.rlim_max, "the limit is %ld, not %ld",
	      (long)now.rlim_cur, (long)limit.rlim_cur);
	/* They are on the user's account again: there is no room, but for what other processes have got rid
	 * of. */
	more = fill(count);
	CHECK(more < count / 2, "there was room for %u more", more);
	count += more;
	for (i = 0; i < SIGNALS; i++) {
		/* Those of the thread come first. */
		for (int thread = 1; thread >= 0; thread--)
			for (j = 0; j < count; j++)
				if (j % SIGNALS == i && j % 2 == (unsigned int)thread) {
					siginfo_t want = numbered(j);

					signal_expect(&want);
				}
		CHECK(!(pending_get() & mask_bit(SIGRTMIN + (int)i)), "there are more than were queued");
	}
	pass();
}
