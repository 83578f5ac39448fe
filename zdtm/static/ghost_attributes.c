/*
 * title: owner, mode, extended attributes and times to the nanosecond of what is open and deleted
 * flavours: host ns userns
 * flags: suid
 */
#include <sys/xattr.h>

#include "files.h"

static const struct timespec times[2] = {{1111111111, 111111111}, {1222222222, 987654321}};
static const char binary[] = "\0\1\377 of bytes";

static void prepare(int fd, mode_t mode)
{
	SYS(fchown(fd, 18943, 58467));
	SYS(fchmod(fd, mode));
	SYS(fsetxattr(fd, "user.text", "a text", 6, 0));
	SYS(fsetxattr(fd, "user.empty", "", 0, 0));
	SYS(fsetxattr(fd, "user.binary", binary, sizeof(binary), 0));
	SYS(futimens(fd, times));
}

static void check_xattr(int fd, const char *name, const char *want, size_t size)
{
	char value[64];
	ssize_t n = SYS(fgetxattr(fd, name, value, sizeof(value)));

	CHECK((size_t)n == size && !memcmp(value, want, size), "%s is another value", name);
}

static void check(int fd, mode_t mode)
{
	struct stat st = file_stat(fd);
	char names[256];

	CHECK(st.st_uid == 18943 && st.st_gid == 58467, "owner %u:%u", st.st_uid, st.st_gid);
	CHECK((st.st_mode & 07777) == mode, "mode %o", st.st_mode);
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec,
	      "modified at %ld.%09ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	CHECK(st.st_atim.tv_sec == times[0].tv_sec && st.st_atim.tv_nsec == times[0].tv_nsec,
	      "accessed at %ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
	check_xattr(fd, "user.text", "a text", 6);
	check_xattr(fd, "user.empty", "", 0);
	check_xattr(fd, "user.binary", binary, sizeof(binary));
	CHECK(SYS(flistxattr(fd, names, sizeof(names))) == 33, "attributes were added");
}

int main(int argc, char **argv)
{
	int file, directory;

	test_init(argc, argv);
	file = file_make("file", 100, 1);
	prepare(file, 06751);
	SYS(mkdir("dir", 0700));
	directory = SYS(open("dir", O_RDONLY | O_DIRECTORY));
	prepare(directory, 03715);
	SYS(unlink("file"));
	SYS(rmdir("dir"));
	test_daemon();
	test_waitsig();
	check(file, 06751);
	check(directory, 03715);
	file_holds(file, 100, 1);
	file_absent("file");
	file_absent("dir");
	pass();
}
