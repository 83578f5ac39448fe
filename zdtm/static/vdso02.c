/*
 * title: a stopped child that has unmapped its vdso and vvar comes back without them
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many of the mappings that only the kernel makes there are; taken away as well if asked for. */
static int special(const char *maps, bool unmap)
{
	static const char *const names[] = {"[vdso]", "[vvar]", "[vvar_vclock]"};
	char *text = test_read_file(maps, NULL), *rest, *line;
	int found = 0;

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned long start, end;
		char name[32];

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %31s", &start, &end, name) != 3)
			continue;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strcmp(name, names[i]))
				continue;
			found++;
			if (unmap)
				SYS(munmap((void *)start, end - start));
		}
	}
	free(text);
	return found;
}

int main(int argc, char **argv)
{
	char maps[64];
	int own, status;
	pid_t child;

	test_init(argc, argv);
	own = special("/proc/self/maps", false);
	CHECK(own >= 2, "this kernel has mapped %d of vdso and vvar", own);
	child = SYS(fork());
	if (!child) {
		special("/proc/self/maps", true);
		SYS(raise(SIGSTOP));
		_exit(special("/proc/self/maps", false));
	}
	SYS(waitpid(child, &status, WUNTRACED));
	CHECK(WIFSTOPPED(status), "the child has not stopped, but %#x", status);
	snprintf(maps, sizeof(maps), "/proc/%d/maps", child);
	CHECK(special(maps, false) == 0, "the child could not unmap them");
	test_daemon();
	test_waitsig();
	CHECK(special(maps, false) == 0, "the child has a vdso or vvar");
	CHECK(special("/proc/self/maps", false) == own, "the parent has lost some of its own");
	SYS(kill(child, SIGCONT));
	test_reap(child);
	pass();
}
