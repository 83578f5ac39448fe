/*
 * title: one deleted file with two names that is executed, mapped, open twice and a mere path, in two tasks
 * flavours: host ns userns
 */
#include "program.h"
#include "files.h"

struct shared {
	uint32_t ready, go;
	ino_t inode;
};

static ino_t exe_inode(void)
{
	struct stat st;

	SYS(stat("/proc/self/exe", &st));
	CHECK(st.st_nlink == 0, "it has a name");
	return st.st_ino;
}

int main(int argc, char **argv)
{
	struct shared *shared;
	int fd, other, path;
	char name[PATH_MAX];
	char *map;
	pid_t pid;

	if (argc < 2) {
		program_copy("copy");
		SYS(execl("copy", "copy", "as copy", NULL));
	}
	test_init(argc, argv);
	SYS(link("copy", "name"));
	fd = SYS(open("copy", O_RDONLY));
	other = SYS(open("name", O_RDONLY));
	path = SYS(open("name", O_PATH));
	map = SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0));
	SYS(unlink("copy"));
	SYS(unlink("name"));
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid) {
		test_post(&shared->ready);
		test_await(&shared->go, 1);
		CHECK(exe_inode() == shared->inode && file_stat(other).st_ino == shared->inode, "two files");
		_exit(0);
	}
	tree_await(pid, &shared->ready, 1);
	test_daemon();
	test_waitsig();
	shared->inode = exe_inode();
	CHECK(file_stat(fd).st_ino == shared->inode && file_stat(other).st_ino == shared->inode &&
		      file_stat(path).st_ino == shared->inode,
	      "several files");
	CHECK(!memcmp(map, "\177ELF", 4), "the mapping is of something else");
	snprintf(name, sizeof(name), "%s" DELETED, test_path("name"));
	file_named(other, name);
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
