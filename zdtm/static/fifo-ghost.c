/*
 * title: a FIFO without a name: its contents, mode and both ends are there, and no name
 * flavours: host ns userns
 */
#include "fifo.h"

#include <dirent.h>

enum { SEED = 4, WAITING = 5000, MODE = 0604 };

static int count_names(void)
{
	DIR *here = opendir(".");
	int count = 0;

	CHECK(here, "opendir: %m");
	while (readdir(here))
		count++;
	closedir(here);
	return count;
}

int main(int argc, char **argv)
{
	static char got[WAITING];
	int both, reader, writer, names;
	struct stat st, before;
	char link[256], path[64];
	ssize_t n;

	test_init(argc, argv);
	fifo_make("fifo", MODE);
	both = fifo_open("fifo", O_RDWR);
	reader = fifo_open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	writer = fifo_open("fifo", O_WRONLY);
	test_fill(got, WAITING, SEED);
	fd_put(both, got, WAITING);
	SYS(close(both));
	SYS(unlink("fifo"));
	before = fd_stat(reader);
	names = count_names();
	test_daemon();
	test_waitsig();
	CHECK(count_names() == names, "there is another name than before");
	check_flags(reader, O_RDONLY | O_NONBLOCK, FD_CLOEXEC);
	check_flags(writer, O_WRONLY, 0);
	check_same(reader, writer);
	st = fd_stat(reader);
	CHECK(st.st_nlink == 0 && st.st_mode == (S_IFIFO | MODE) && st.st_uid == before.st_uid,
	      "it has %lu names, mode %#o, owner %u", st.st_nlink, st.st_mode, st.st_uid);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader);
	n = SYS(readlink(path, link, sizeof(link) - 1));
	link[n] = 0;
	CHECK(strlen(link) > 15 && !strcmp(link + strlen(link) - 15, "/fifo (deleted)"), "its name is %s",
	      link);
	check_waiting(reader, WAITING);
	fd_get(reader, got, WAITING);
	CHECK(test_differs(got, WAITING, SEED) == -1, "other bytes than before");
	check_empty(reader);
	fd_put(writer, "again", 5);
	fd_get(reader, got, 5);
	CHECK(!memcmp(got, "again", 5), "the ends are not of one FIFO");
	SYS(close(writer));
	check_ended(reader);
	pass();
}
