/*
 * title: every limit of an IPC namespace is what it was set to
 * flavours: ns
 * flags: suid
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "zdtm.h"

/* In an order in which each may be set: some limits bound others. */
static const struct limit {
	const char *name, *value;
} limits[] = {
	{"kernel/msgmax", "7654\n"},	    {"kernel/msgmnb", "15432\n"},
	{"kernel/msgmni", "311\n"},	    {"kernel/sem", "257\t32007\t37\t129\n"},
	{"kernel/shmall", "12345678901\n"}, {"kernel/shmmax", "98765432101\n"},
	{"kernel/shmmni", "1234\n"},	    {"kernel/shm_rmid_forced", "1\n"},
	{"kernel/auto_msgmni", "0\n"},	    {"fs/mqueue/queues_max", "123\n"},
	{"fs/mqueue/msg_max", "47\n"},	    {"fs/mqueue/msgsize_max", "4321\n"},
	{"fs/mqueue/msg_default", "13\n"},  {"fs/mqueue/msgsize_default", "1357\n"},
};

int main(int argc, char **argv)
{
	char path[64], *value;

	test_init(argc, argv);
	for (const struct limit *l = limits; l < limits + sizeof(limits) / sizeof(*limits); l++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", l->name);
		int fd = SYS(open(path, O_WRONLY | O_CLOEXEC));

		CHECK(write(fd, l->value, strlen(l->value)) > 0, "%s: %m", path);
		SYS(close(fd));
	}
	test_daemon();
	test_waitsig();
	for (const struct limit *l = limits; l < limits + sizeof(limits) / sizeof(*limits); l++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", l->name);
		value = test_read_file(path, NULL);
		CHECK(!strcmp(value, l->value), "%s is %s instead of %s", path, value, l->value);
	}
	pass();
}
