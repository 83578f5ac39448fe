/*
 * title: a descriptor of a detached mount (open_tree), and a file opened through it, are refused
 * flavours: host
 * flags: suid crfail
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

#define CLONE_TREE 1 /* OPEN_TREE_CLONE */

int main(int argc, char **argv)
{
	int tree, file;

	test_init(argc, argv);
	tree = (int)SYS(syscall(SYS_open_tree, AT_FDCWD, "/", CLONE_TREE | O_CLOEXEC));
	file = (int)SYS(openat(tree, "etc/passwd", O_RDONLY));
	test_daemon();
	test_waitsig();
	SYS(fchdir(tree));
	SYS(lseek(file, 0, SEEK_SET));
	pass();
}
