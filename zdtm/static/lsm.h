/* Security labels in /proc, and AppArmor profiles for a test. */
#ifndef LSM_H
#define LSM_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zdtm.h"

/* The label in a file of /proc, without what the kernel puts behind it. */
static inline const char *label(const char *file)
{
	char *text = test_read_file(file, NULL);

	text[strcspn(text, "\n")] = 0;
	return text;
}

/* What the kernel says to a label: 0 or the error number. */
static inline int set_label(const char *file, const char *text)
{
	int fd = SYS(open(file, O_WRONLY)), error = 0;

	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	SYS(close(fd));
	return error;
}

/* Load a profile that allows everything, or remove it; `space` is its namespace, or NULL. */
static inline void profile(const char *name, const char *space, bool load)
{
	const char *parser = "apparmor_parser";
	pid_t child;
	FILE *file;
	int status;

	file = fopen(name, "w");
	CHECK(file, "%s: %m", name);
	fprintf(file, "profile %s flags=(attach_disconnected) {\n", name);
	fprintf(file, "capability, file, network, mount, umount, ptrace, signal, unix, dbus, pivot_root,\n");
	fprintf(file, "change_profile,\n}\n");
	fclose(file);
	child = SYS(fork());
	if (!child) {
		const char *what = load ? "--replace" : "--remove";

		if (space)
			execlp(parser, parser, "--skip-cache", what, "--namespace-string", space, name, NULL);
		else
			execlp(parser, parser, "--skip-cache", what, name, NULL);
		_exit(127);
	}
	SYS(waitpid(child, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		skip("there is no %s", parser);
	CHECK(!status, "%s: wait status %#x", parser, status);
	SYS(unlink(name));
}

#endif
