/*
 * title: removed directories below each other, and a deleted file in them: who is whose parent
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	struct stat st, current, outer;
	int top, inner, file, again;

	test_init(argc, argv);
	SYS(mkdir("top", 0755));
	SYS(mkdir("top/current", 0755));
	SYS(mkdir("top/current/inner", 0755));
	top = SYS(open("top", O_RDONLY | O_DIRECTORY));
	inner = SYS(open("top/current/inner", O_RDONLY | O_DIRECTORY));
	file = file_make("top/current/inner/file", 5000, 1);
	again = SYS(open("top/current/inner/file", O_RDONLY));
	SYS(chdir("top/current"));
	SYS(unlink("inner/file"));
	SYS(rmdir("inner"));
	SYS(rmdir("../current"));
	SYS(rmdir(test_path("top")));
	test_daemon();
	test_waitsig();
	file_holds(file, 5000, 1);
	CHECK(file_same(file, again), "two files");
	file_links(file, 0);
	file_absent(test_path("top"));
	/* Even a removed directory knows where it was. */
	SYS(stat(".", &current));
	SYS(fstatat(inner, "..", &st, 0));
	CHECK(st.st_ino == current.st_ino, "the inner directory was in another");
	SYS(stat("..", &outer));
	st = file_stat(top);
	CHECK(st.st_ino == outer.st_ino, "the current directory was in another");
	SYS(stat(test_path("."), &st));
	SYS(fstatat(top, "..", &outer, 0));
	CHECK(st.st_ino == outer.st_ino, "the topmost directory was in another");
	pass();
}
