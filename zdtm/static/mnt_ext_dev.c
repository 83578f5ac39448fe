/*
 * title: an ext4 on a device of which the restore is told, a bind of a part of it, open files
 * flavours: ns
 * flags: suid
 * needs: mnt_id
 */
#include "files.h"
#include "mount.h"

int main(int argc, char **argv)
{
	struct stat st, by_name;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("ext4", 0755));
	test_outside();
	SYS(mount(realpath("/dev/volume", NULL), "ext4", "ext4", MS_NOATIME, "data=journal"));
	SYS(mkdir("ext4/part", 0755));
	new_bind("ext4/part", "bind");
	mount_flags("bind", MS_RDONLY);
	fd = SYS(open("ext4/part/file", O_RDWR | O_CREAT, 0600));
	CHECK(write(fd, "text", 4) == 4, "write");

	test_daemon();
	test_waitsig();
	SYS(fstat(fd, &st));
	SYS(stat("bind/file", &by_name));
	CHECK(st.st_ino == by_name.st_ino && st.st_dev == by_name.st_dev, "another file");
	CHECK(lseek(fd, 0, SEEK_CUR) == 4, "its position is %ld", lseek(fd, 0, SEEK_CUR));
	check_file("bind/file", "text");
	check_read_only("bind");
	CHECK(write(fd, " and more", 9) == 9, "write");
	check_file("bind/file", "text and more");
	SYS(close(fd));
	unmount("bind");
	unmount("ext4");

	pass();
}
