/*
 * title: a counter that streams into a file loses and doubles no line
 * flavours: host ns userns
 * ignore: positions
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const struct timespec pause = {0, 20000};
	char line[24], *text, *at, *end;
	long count = 0, expected = 0;
	size_t size;
	int fd, n;

	test_init(argc, argv);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
	test_daemon();
	while (test_go() || !count) {
		n = snprintf(line, sizeof(line), "%ld\n", count++);
		CHECK(write(fd, line, (size_t)n) == n, "line %ld: %m", count);
		/* Let there be some rest for others: the dump hits the call as well as the work. */
		nanosleep(&pause, NULL);
	}
	text = test_read_file("file", &size);
	for (at = text; at < text + size; at = end + 1) {
		long number = strtol(at, &end, 10);

		CHECK(number == expected && *end == '\n', "line %ld holds %ld", expected, number);
		expected++;
	}
	CHECK(expected == count && count > 0, "%ld lines in the file, %ld were written", expected, count);
	pass();
}
