/*
 * title: message queues: order, empty and huge messages, any type, any byte, a full queue, limits, owners
 * flavours: ns userns
 */
#include <limits.h>
#include <stdlib.h>

#include "sysv.h"

enum { MOST = 8192, COUNT = 40 };

struct message {
	long type;
	unsigned char bytes[MOST];
};

static const struct {
	long type;
	size_t size;
} messages[] = {{LONG_MAX, 0}, {3, MOST}, {1, 1}, {3, 0}, {0x123456789abcL, 4049}, {3, 4048}, {1, 5}};

static void put(int id, struct message *m, long type, size_t size, uint32_t seed)
{
	m->type = type;
	test_fill(m->bytes, size, seed);
	SYS(msgsnd(id, m, size, IPC_NOWAIT));
}

static void take(int id, struct message *m, long type, size_t size, uint32_t seed)
{
	memset(m, 0, sizeof(*m));
	CHECK(msgrcv(id, m, MOST, 0, IPC_NOWAIT) == (ssize_t)size, "message %u: %m", seed);
	CHECK(m->type == type, "message %u is of type %ld", seed, m->type);
	CHECK(test_differs(m->bytes, size, seed) < 0, "message %u is another", seed);
}

int main(int argc, char **argv)
{
	struct message *m = calloc(1, sizeof(*m));
	struct msqid_ds before, small_before;
	int id, gone, empty, small;

	test_init(argc, argv);
	gone = SYS(msgget(IPC_PRIVATE, 0600));
	id = SYS(msgget(IPC_PRIVATE, 0640));
	SYS(msgctl(gone, IPC_RMID, NULL));
	empty = SYS(msgget(0x7fffffff, IPC_CREAT | IPC_EXCL | 0622)); /* in its slot, of another sequence */
	small = SYS(msgget((key_t)0xfedcba98, IPC_CREAT | IPC_EXCL | 0600));
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		if (msg_stat(id).__msg_cbytes + messages[i].size <= msg_stat(id).msg_qbytes)
			put(id, m, messages[i].type, messages[i].size, (uint32_t)i);
		else
			fail("message %zu does not fit", i);
	for (int i = 0; i < COUNT; i++)
		put(small, m, 1 + i % 3, 10, (uint32_t)i);
	small_before = msg_stat(small);
	small_before.msg_qbytes = 10 * COUNT; /* not one more byte */
	small_before.msg_perm.mode = 0666;
	SYS(msgctl(small, IPC_SET, &small_before));
	before = msg_stat(id);
	small_before = msg_stat(small);
	test_daemon();
	test_waitsig();
	CHECK(msgctl(gone, IPC_STAT, &before) == -1 && errno == EINVAL, "a queue is there that was removed");
	ipc_perm_check(msg_stat(id).msg_perm, before.msg_perm, "the first queue");
	ipc_perm_check(msg_stat(small).msg_perm, small_before.msg_perm, "the full queue");
	CHECK(msgget(0x7fffffff, 0) == empty, "the empty queue has another id");
	CHECK(msg_stat(empty).msg_qnum == 0, "the empty queue is not");
	CHECK(msgget((key_t)0xfedcba98, 0) == small, "the full queue has another id");
	CHECK(msg_stat(id).msg_qbytes == before.msg_qbytes, "another limit of bytes");
	CHECK(msg_stat(small).msg_qbytes == 10 * COUNT, "the full queue has another limit of bytes");
	m->type = 1;
	CHECK(msgsnd(small, m, 1, IPC_NOWAIT) == -1 && errno == EAGAIN, "the full queue takes more");
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		take(id, m, messages[i].type, messages[i].size, (uint32_t)i);
	CHECK(msg_stat(id).msg_qnum == 0, "there are more messages");
	for (int i = 0; i < COUNT; i++)
		take(small, m, 1 + i % 3, 10, (uint32_t)i);
	CHECK(msg_stat(small).msg_qnum == 0, "the full queue had more messages");
	pass();
}
