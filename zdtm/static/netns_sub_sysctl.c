/*
 * title: the length of datagram queues and the groups that may ping are those of the namespace
 * flavours: ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "zdtm.h"

static const struct {
	const char *path, *value;
} sysctls[] = {
	{"/proc/sys/net/unix/max_dgram_qlen", "321\n"},
	{"/proc/sys/net/ipv4/ping_group_range", "41\t4711\n"},
};

int main(int argc, char **argv)
{
	test_init(argc, argv);
	for (size_t i = 0; i < 2; i++) {
		int fd = SYS(open(sysctls[i].path, O_WRONLY));

		SYS(write(fd, sysctls[i].value, strlen(sysctls[i].value)));
		close(fd);
	}
	test_daemon();
	test_waitsig();
	for (size_t i = 0; i < 2; i++) {
		char *text = test_read_file(sysctls[i].path, NULL);

		CHECK(!strcmp(text, sysctls[i].value), "%s is %s, was %s", sysctls[i].path, text,
		      sysctls[i].value);
		free(text);
	}
	pass();
}
