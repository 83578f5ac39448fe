/*
 * title: a message queue has its messages, and both processes go on by it
 * flavours: ns userns
 */
#include "child.h"
#include "sysv.h"

struct message {
	long type;
	char text[64];
};

static void take(int id, long type, const char *text)
{
	struct message m = {0};
	long size = SYS(msgrcv(id, &m, sizeof(m.text), type, IPC_NOWAIT));

	CHECK(m.type == type && size == (long)strlen(text) && !memcmp(m.text, text, (size_t)size),
	      "a message of type %ld: '%.*s' instead of '%s'", m.type, (int)size, m.text, text);
}

static void put(int id, long type, const char *text)
{
	struct message m = {.type = type};

	strcpy(m.text, text);
	SYS(msgsnd(id, &m, strlen(text), IPC_NOWAIT));
}

int main(int argc, char **argv)
{
	key_t key = 0x5a7e1234;
	pid_t child;
	int id;

	test_init(argc, argv);
	id = SYS(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
	child = child_fork();
	if (!child) {
		child_wait();
		take(SYS(msgget(key, 0)), 2, "for the child");
		put(id, 7, "from the child");
		_exit(0);
	}
	child_await();
	put(id, 1, "for the parent");
	put(id, 2, "for the child");
	test_daemon();
	test_waitsig();
	CHECK(msgget(key, 0) == id, "the key leads to another queue");
	take(id, 1, "for the parent");
	child_go();
	test_reap(child);
	take(id, 7, "from the child");
	CHECK(msg_stat(id).msg_qnum == 0, "there are more messages");
	SYS(msgctl(id, IPC_RMID, NULL));
	pass();
}
