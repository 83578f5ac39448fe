/*
 * title: mere paths (O_PATH) of every kind of file, with names and without, stay what they are
 * flavours: host ns userns
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "files.h"

enum { KINDS = 5 };

static const mode_t types[KINDS] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK};

static void make(const char *name, mode_t type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	switch (type) {
	case S_IFREG: SYS(close(file_make(name, 10, 1))); break;
	case S_IFDIR: SYS(mkdir(name, 0700)); break;
	case S_IFLNK: SYS(symlink("/nowhere", name)); break;
	case S_IFIFO: SYS(mkfifo(name, 0600)); break;
	default:
		strcpy(address.sun_path, name);
		fd = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
		SYS(bind(fd, (struct sockaddr *)&address, sizeof(address)));
		SYS(close(fd));
	}
}

int main(int argc, char **argv)
{
	int fds[KINDS][2], flags = O_PATH | O_NOFOLLOW;
	char name[32], byte;
	struct stat st, named;

	test_init(argc, argv);
	for (int i = 0; i < KINDS; i++)
		for (int gone = 0; gone < 2; gone++) {
			snprintf(name, sizeof(name), "%d-%d", i, gone);
			make(name, types[i]);
			fds[i][gone] = SYS(open(name, flags | (i == 1 ? O_CLOEXEC : 0)));
			if (gone)
				SYS(types[i] == S_IFDIR ? rmdir(name) : unlink(name));
		}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++)
		for (int gone = 0; gone < 2; gone++) {
			snprintf(name, sizeof(name), "%d-%d", i, gone);
			st = file_stat(fds[i][gone]);
			CHECK((st.st_mode & S_IFMT) == types[i], "%s: mode %o", name, st.st_mode);
			CHECK((SYS(fcntl(fds[i][gone], F_GETFL)) & flags) == flags, "%s: flags %o", name,
			      fcntl(fds[i][gone], F_GETFL));
			CHECK(read(fds[i][gone], &byte, 1) < 0 && errno == EBADF, "%s can be read", name);
			if (gone) {
				file_links(fds[i][gone], 0);
				file_absent(name);
			} else {
				SYS(lstat(name, &named));
				CHECK(named.st_ino == st.st_ino, "%s is another file", name);
			}
		}
	pass();
}
