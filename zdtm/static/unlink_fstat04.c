/*
 * title: a deleted file with an odd name whose directory may not be written to
 * flavours: host ns userns
 * flags: suid
 */
#include "files.h"

static const char odd[] = "dir/\"a\\b\" $(c)\t'd' \n#e (deleted)%s";

int main(int argc, char **argv)
{
	char name[PATH_MAX];
	struct stat st;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	fd = file_make(odd, 2000, 1);
	SYS(unlink(odd));
	SYS(chmod("dir", 0555));
	test_daemon();
	test_waitsig();
	file_holds(fd, 2000, 1);
	file_links(fd, 0);
	snprintf(name, sizeof(name), "%s" DELETED, test_path(odd));
	file_named(fd, name);
	file_absent(odd);
	SYS(stat("dir", &st));
	CHECK((st.st_mode & 07777) == 0555, "the directory has mode %o", st.st_mode);
	pass();
}
