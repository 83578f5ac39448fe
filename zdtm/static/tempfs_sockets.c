/*
 * title: sockets, devices and attributes in a tmpfs
 * flavours: ns
 * flags: suid
 */
#include "mount.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

static void check_owner(const char *path, mode_t mode, uid_t uid)
{
	struct stat st;

	SYS(lstat(path, &st));
	CHECK(st.st_mode == mode && st.st_uid == uid, "%s is %o of %u", path, st.st_mode, st.st_uid);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "t/dir/a socket\n"};
	struct stat st;
	char value[16];
	int fd;

	new_tmpfs("t");
	SYS(mkdir("t/dir", 0755));
	fd = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	SYS(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	SYS(close(fd));
	SYS(chmod(address.sun_path, 0613));
	SYS(chown(address.sun_path, 77, 78));
	SYS(mknod("t/device", S_IFCHR | 0624, makedev(1, 5)));
	write_file("t/file", "with attributes");
	SYS(setxattr("t/file", "trusted.zdtm", "value", 5, 0));

	test_daemon();
	test_waitsig();
	check_owner(address.sun_path, S_IFSOCK | 0613, 77);
	check_owner("t/device", S_IFCHR | 0604, 0);
	SYS(stat("t/device", &st));
	CHECK(st.st_rdev == makedev(1, 5), "the device is another one");
	CHECK(getxattr("t/file", "trusted.zdtm", value, sizeof(value)) == 5 && !memcmp(value, "value", 5),
	      "the attribute: %s", strerror(errno));
	unmount("t");

	pass();
}
