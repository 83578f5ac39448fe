/*
 * title: the file mode creation mask stays
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	const mode_t mask = 0345;
	struct stat made;
	mode_t now;

	test_init(argc, argv);
	umask(mask);
	test_daemon();
	test_waitsig();
	SYS(open("file", O_CREAT | O_WRONLY, 0777));
	SYS(stat("file", &made));
	CHECK((made.st_mode & 0777) == (0777 & ~mask), "a new file has mode %o", made.st_mode & 0777);
	now = umask(0);
	CHECK(now == mask, "the mask is %o instead of %o", now, mask);
	pass();
}
