/*
 * title: files whose names have newlines, bytes that are no text, or look like those of deleted ones
 * flavours: host ns userns
 * opts: --link-remap
 */
#include <sys/mman.h>

#include "files.h"

static const char *const names[] = {
	"a\nb\\012c", "\377\376\001 bytes", "file (deleted)", "gone (deleted)",
	" ",	      "memfd:x (deleted)",  "link (deleted)",
};

enum { NAMES = sizeof(names) / sizeof(*names), SIZE = 4096 };

int main(int argc, char **argv)
{
	char want[PATH_MAX];
	int fds[NAMES];
	struct stat st;
	char *maps[NAMES];

	test_init(argc, argv);
	for (int i = 0; i < NAMES; i++) {
		fds[i] = file_make(names[i], SIZE, (uint32_t)i);
		maps[i] = SYS(mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fds[i], 0));
	}
	SYS(unlink("gone (deleted)"));
	SYS(link("link (deleted)", "link"));
	SYS(unlink("link (deleted)"));
	/* A directory as well, in a directory of the sort. */
	SYS(mkdir("dir\n (deleted)", 0755));
	SYS(chdir("dir\n (deleted)"));
	test_daemon();
	test_waitsig();
	for (int i = 0; i < NAMES; i++) {
		file_holds(fds[i], SIZE, (uint32_t)i);
		CHECK(test_differs(maps[i], SIZE, (uint32_t)i) < 0, "mapping %d differs", i);
		snprintf(want, sizeof(want), "%s%s", test_path(names[i]), i == 3 || i == 6 ? DELETED : "");
		file_named(fds[i], want);
		if (i == 3 || i == 6) {
			file_absent(test_path(names[i]));
			continue;
		}
		SYS(stat(test_path(names[i]), &st));
		CHECK(st.st_ino == file_stat(fds[i]).st_ino, "name %d leads elsewhere", i);
	}
	CHECK(SYS(stat("../link", &st)) == 0 && st.st_ino == file_stat(fds[6]).st_ino,
	      "the link leads elsewhere");
	pass();
}
