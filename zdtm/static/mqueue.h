/* For tests of POSIX message queues. The names are this test's: the queues are the machine's. */
#ifndef MQUEUE_H
#define MQUEUE_H

#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

static char mq_names[4][64];

/* A name that no other test has. */
static inline const char *mq_name(int which)
{
	if (!mq_names[which][0])
		snprintf(mq_names[which], sizeof(mq_names[which]), "/zdtm.%d.%d.%d", getpid(), which,
			 (int)geteuid());
	return mq_names[which];
}

static inline mqd_t mq_make(int which, int flags, mode_t mode, long most, long size)
{
	struct mq_attr attr = {.mq_maxmsg = most, .mq_msgsize = size};

	return SYS(mq_open(mq_name(which), O_CREAT | O_EXCL | flags, mode, &attr));
}

static inline void mq_put(mqd_t queue, const char *text, unsigned priority)
{
	SYS(mq_send(queue, text, strlen(text), priority));
}

static inline void mq_expect(mqd_t queue, const char *text, unsigned priority)
{
	const struct timespec past = {.tv_sec = 0};
	unsigned got_priority;
	char got[8192];
	ssize_t size = mq_timedreceive(queue, got, sizeof(got), &got_priority, &past);

	CHECK(size >= 0, "'%s' is not there: %s", text, strerror(errno));
	CHECK((size_t)size == strlen(text) && !memcmp(got, text, (size_t)size) && got_priority == priority,
	      "'%.*s' with priority %u instead of '%s' with %u", (int)size, got, got_priority, text,
	      priority);
}

static inline void mq_expect_none(mqd_t queue)
{
	struct mq_attr attr;

	SYS(mq_getattr(queue, &attr));
	CHECK(!attr.mq_curmsgs, "%ld messages are left", attr.mq_curmsgs);
}

static inline void mq_check(mqd_t queue, long most, long size, long count, int flags)
{
	struct mq_attr attr;

	SYS(mq_getattr(queue, &attr));
	CHECK(attr.mq_maxmsg == most && attr.mq_msgsize == size && attr.mq_curmsgs == count,
	      "%ld of %ld messages of %ld bytes", attr.mq_curmsgs, attr.mq_maxmsg, attr.mq_msgsize);
	CHECK(SYS(fcntl(queue, F_GETFL)) == flags, "it is open with %#o", fcntl(queue, F_GETFL));
}

#endif
