/*
 * title: the adjustment of the out-of-memory score stays
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char file[] = "/proc/self/oom_score_adj";

int main(int argc, char **argv)
{
	int fd, now;

	test_init(argc, argv);
	fd = SYS(open(file, O_WRONLY));
	CHECK(write(fd, "400", 3) == 3, "%s: %m", file);
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	now = atoi(test_read_file(file, NULL));
	CHECK(now == 400, "the adjustment is %d instead of 400", now);
	pass();
}
