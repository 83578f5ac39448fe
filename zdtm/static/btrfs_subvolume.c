/*
 * title: files in a subvolume of btrfs, which has a device number of its own, that mappings do not show
 * flavours: host
 * flags: suid
 * opts: --file-locks
 */
#include "files.h"

#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>

enum { SIZE = 8192, SEED = 5 };

int main(int argc, char **argv)
{
	struct stat top, before, after;
	int fd, gone, other, watches;
	char *shared, *private, events[512], byte;

	test_init(argc, argv);
	SYS(mkdir("volume", 0755));
	test_outside();
	SYS(chdir("volume/sub"));
	fd = file_make("file", SIZE, SEED);
	gone = file_make("gone", SIZE, SEED + 1);
	SYS(unlink("gone"));
	SYS(stat("..", &top));
	before = file_stat(fd);
	CHECK(top.st_dev != before.st_dev, "no subvolume");
	shared = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	private = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, gone, 0));
	private[0] = 'p';
	SYS(flock(fd, LOCK_EX));
	watches = SYS(inotify_init1(IN_NONBLOCK));
	SYS(inotify_add_watch(watches, "..", IN_CREATE));
	SYS(inotify_add_watch(watches, "file", IN_ATTRIB));
	test_daemon();
	test_waitsig();
	after = file_stat(fd);
	CHECK(after.st_dev == before.st_dev && after.st_ino == before.st_ino, "another file");
	file_holds(fd, SIZE, SEED);
	file_holds(gone, SIZE, SEED + 1);
	CHECK(!file_stat(gone).st_nlink, "it has a name");
	CHECK(private[0] == 'p', "private memory has changed");
	shared[1] = '!';
	CHECK(pread(fd, &byte, 1, 1) == 1 && byte == '!', "what is written to memory is not in the file");
	other = SYS(open("file", O_RDWR));
	CHECK(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "its lock is lost");
	CHECK(read(watches, events, sizeof(events)) == -1 && errno == EAGAIN, "an event out of nothing");
	SYS(close(SYS(open("../new", O_RDWR | O_CREAT, 0600))));
	CHECK(read(watches, events, sizeof(events)) > 0 &&
		      ((struct inotify_event *)events)->mask == IN_CREATE,
	      "the directory is not watched");
	SYS(fchmod(fd, 0640));
	CHECK(read(watches, events, sizeof(events)) > 0 &&
		      ((struct inotify_event *)events)->mask == IN_ATTRIB,
	      "the file is not watched");
	pass();
}
