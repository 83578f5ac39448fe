/*
 * title: a function with a uprobe in it goes on working, and the probe counts again
 * flavours: host
 * flags: suid
 * opts: --allow-uprobes
 * arch: x86_64
 */
#include "zdtm.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_TYPE "/sys/bus/event_source/devices/uprobe/type"

enum { CPUS = 256, LIFE = 120 }; /* s: how long the holder lives when nobody tells it to end */

/* It begins with an instruction that the kernel cannot emulate, but has to run in the mapping [uprobes]. */
uint32_t probed(uint32_t n);
__asm__(".text\n"
	".globl probed\n"
	".type probed, @function\n"
	"probed:\n"
	"	lea 7(%rdi,%rdi,2), %eax\n"
	"	ret\n");

/* Between the test and who holds the probe: a question is answered with how often it was hit. */
struct talk {
	uint32_t ready, question, answer, error, hits;
};

static void place(char *path, size_t size, unsigned long *offset)
{
	char *maps = test_read_file("/proc/self/maps", NULL);
	unsigned long start, end, first, at = (unsigned long)probed;

	path[SYS(readlink("/proc/self/exe", path, size - 1))] = 0;
	for (char *line = maps; *line; line = strchr(line, '\n') + 1) {
		CHECK(sscanf(line, "%lx-%lx %*s %lx", &start, &end, &first) == 3, "cannot parse %.80s", line);
		if (start <= at && at < end) {
			*offset = at - start + first;
			free(maps);
			return;
		}
	}
	fail("the probed function is not mapped");
}

static int open_probe(const char *path, unsigned long offset, int cpu)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	char type[16] = "";
	int fd = open(PROBE_TYPE, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, type, sizeof(type) - 1) < 1)
		return -1;
	close(fd);
	attr.type = atoi(type);
	attr.uprobe_path = (uintptr_t)path;
	attr.probe_offset = offset;
	return syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Outside of the tree: an orphan that keeps the probe, in every processor's name, while the test is away. */
static _Noreturn void hold(struct talk *talk, const char *path, unsigned long offset)
{
	int fds[CPUS], cpus = sysconf(_SC_NPROCESSORS_CONF), count = 0;

	SYS(setsid());
	alarm(LIFE);
	for (int cpu = 0; cpu < cpus && count < CPUS; cpu++) {
		fds[count] = open_probe(path, offset, cpu);
		if (fds[count] >= 0)
			count++;
		else if (errno != ENODEV) /* a processor that is off */
			talk->error = errno;
	}
	test_post(&talk->ready);
	for (uint32_t asked = 1; !talk->error; asked++) {
		uint32_t hits = 0;

		test_await(&talk->question, asked);
		for (int i = 0; i < count; i++) {
			uint64_t value;

			CHECK(read(fds[i], &value, sizeof(value)) == sizeof(value),
			      "the probe cannot be read");
			hits += value;
		}
		talk->hits = hits;
		test_post(&talk->answer);
		if (asked == 3)
			break;
	}
	_exit(0);
}

static uint32_t hits(struct talk *talk, uint32_t question)
{
	test_post(&talk->question);
	test_await(&talk->answer, question);
	return talk->hits;
}

/* The mapping comes with the first hit: the test goes on calling, so that it is there again soon. */
static void call(uint32_t n)
{
	uint32_t got = probed(n);

	CHECK(got == 3 * n + 7, "probed(%u) is %u", n, got);
}

static bool has_area(void)
{
	char *maps = test_read_file("/proc/self/maps", NULL);
	bool found = strstr(maps, "[uprobes]\n");

	free(maps);
	return found;
}

int main(int argc, char **argv)
{
	char path[4096];
	unsigned long offset;
	struct talk *talk;
	uint32_t count, calls;
	pid_t child;

	test_init(argc, argv);
	talk = test_shared(sizeof(*talk));
	place(path, sizeof(path), &offset);
	child = SYS(fork());
	if (!child) {
		if (!SYS(fork()))
			hold(talk, path, offset);
		_exit(0);
	}
	test_reap(child);
	test_await(&talk->ready, 1);
	if (talk->error)
		skip("no uprobe can be made: %s", strerror(talk->error));
	CHECK(hits(talk, 1) == 0, "the probe was hit before");
	call(1);
	CHECK(has_area(), "no mapping for uprobes");
	count = hits(talk, 2);
	CHECK(count == 1, "the probe was hit %u times", count);
	test_daemon();
	for (calls = 2; test_go(); calls++) {
		call(calls);
		usleep(1000);
	}
	test_waitsig();
	call(calls);
	CHECK(has_area(), "no mapping for uprobes now");
	count = hits(talk, 3);
	CHECK(count == calls, "the probe was hit %u times in %u calls", count, calls);
	pass();
}
