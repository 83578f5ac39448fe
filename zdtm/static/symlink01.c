/*
 * title: a symbolic link that is open and deleted still is one
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	char target[64];
	struct stat st;
	ssize_t n;
	int fd;

	test_init(argc, argv);
	SYS(symlink("somewhere/else", "link"));
	fd = SYS(open("link", O_PATH | O_NOFOLLOW));
	SYS(unlink("link"));
	test_daemon();
	test_waitsig();
	st = file_stat(fd);
	CHECK(S_ISLNK(st.st_mode), "mode %o", st.st_mode);
	file_links(fd, 0);
	n = SYS(readlinkat(fd, "", target, sizeof(target) - 1));
	target[n] = 0;
	CHECK(!strcmp(target, "somewhere/else"), "it leads to %s", target);
	file_absent("link");
	pass();
}
