/*
 * title: tmpfs: files, owners, times, attributes and holes, also below another mount
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"
#include <sys/sysmacros.h>

static const char text[] = "in the file system below";
static char before[4096];

static void describe(const char *path, char *line)
{
	struct stat st;

	SYS(lstat(path, &st));
	snprintf(line, sizeof(before), "%o %u:%u %lu links %lu bytes %lu:%lu at %ld.%09ld", st.st_mode,
		 st.st_uid, st.st_gid, st.st_nlink, st.st_size, (unsigned long)major(st.st_rdev),
		 (unsigned long)minor(st.st_rdev), st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static const char *const names[] = {"t/dir",  "t/dir/file", "t/link",	   "t/symlink",
				    "t/fifo", "t/sparse",   "t/ blank\n\\"};
static char lines[7][256];

int main(int argc, char **argv)
{
	test_init(argc, argv);
	char block[64];
	struct stat st;
	int fd;

	SYS(mkdir("t", 0700));
	SYS(mount("a source", "t", "tmpfs", MS_NOSUID, "size=8m,nr_inodes=100,mode=751"));
	SYS(mkdir("t/dir", 0710));
	write_file("t/dir/file", text);
	SYS(chown("t/dir/file", 12, 13));
	SYS(chmod("t/dir/file", 04640));
	SYS(link("t/dir/file", "t/link"));
	SYS(symlink("/nowhere/at all", "t/symlink"));
	SYS(mkfifo("t/fifo", 0604));
	write_file("t/ blank\n\\", "odd name");
	SYS(mkdir("t/over", 0755));
	write_file("t/over/hidden", "hidden");
	fd = SYS(open("t/sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	SYS(ftruncate(fd, 64 << 20));
	test_fill(block, sizeof(block), 7);
	SYS(pwrite(fd, block, sizeof(block), 32 << 20));
	SYS(mount("over", "t/over", "tmpfs", 0, NULL));
	write_file("t/over/above", "above");
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		describe(names[i], lines[i]);

	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		describe(names[i], before);
		CHECK(!strcmp(before, lines[i]), "%s: %s, and was %s", names[i], before, lines[i]);
	}
	check_file("t/link", text);
	check_file("t/ blank\n\\", "odd name");
	SYS(pread(fd, block, sizeof(block), 32 << 20));
	CHECK(test_differs(block, sizeof(block), 7) < 0, "the data between the holes differs");
	SYS(fstat(fd, &st));
	CHECK(st.st_blocks * 512 < 1 << 20, "the holes take %ld bytes", (long)st.st_blocks * 512);
	check_file("t/over/above", "above");
	check_absent("t/over/hidden");
	unmount("t/over");
	check_file("t/over/hidden", "hidden");
	CHECK(ftruncate(fd, 0) == 0 && write(fd, text, 4) == 4, "the open file: %s", strerror(errno));
	SYS(close(fd));
	unmount("t");

	pass();
}
