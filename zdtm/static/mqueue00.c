/*
 * title: an unlinked message queue: messages by priority and age, attributes, mode, access
 * flavours: host ns userns
 * cflags: -lrt
 */
#include "mqueue.h"

int main(int argc, char **argv)
{
	mqd_t all, writes, reads, empty, same;
	struct stat st;
	char line[16];

	test_init(argc, argv);
	umask(0);
	all = mq_make(0, O_RDWR, 0640, 7, 100);
	writes = SYS(mq_open(mq_name(0), O_WRONLY | O_NONBLOCK));
	reads = SYS(mq_open(mq_name(0), O_RDONLY));
	same = SYS(dup(all));
	SYS(mq_unlink(mq_name(0)));
	empty = mq_make(1, O_RDWR | O_NONBLOCK, 0600, 1, 8192);
	SYS(mq_unlink(mq_name(1)));
	mq_put(all, "second of 3", 3);
	mq_put(all, "only of 0", 0);
	mq_put(writes, "third of 3", 3);
	mq_put(writes, "", 2);
	mq_put(all, "highest", 32767);
	CHECK(SYS(read(reads, line, 6)) == 6, "a short read");
	test_daemon();
	test_waitsig();
	mq_check(all, 7, 100, 5, O_RDWR);
	mq_check(same, 7, 100, 5, O_RDWR);
	mq_check(writes, 7, 100, 5, O_WRONLY | O_NONBLOCK);
	mq_check(reads, 7, 100, 5, O_RDONLY);
	mq_check(empty, 1, 8192, 0, O_RDWR | O_NONBLOCK);
	SYS(fstat(all, &st));
	CHECK(st.st_mode == (S_IFREG | 0640) && st.st_uid == geteuid() && st.st_gid == getegid() &&
		      !st.st_nlink,
	      "mode %o, owner %u:%u, %lu names", st.st_mode, st.st_uid, st.st_gid, st.st_nlink);
	CHECK(SYS(lseek(reads, 0, SEEK_CUR)) == 6, "read to %ld", (long)lseek(reads, 0, SEEK_CUR));
	CHECK(mq_open(mq_name(0), O_RDONLY) == -1 && errno == ENOENT, "it has a name again");
	mq_expect(reads, "highest", 32767);
	mq_expect(all, "second of 3", 3);
	mq_expect(reads, "third of 3", 3);
	mq_expect(same, "", 2);
	mq_expect(reads, "only of 0", 0);
	mq_expect_none(all);
	mq_put(writes, "new", 1);
	mq_expect(reads, "new", 1);
	mq_put(empty, "full", 0);
	CHECK(mq_send(empty, "x", 1, 0) == -1 && errno == EAGAIN, "it has more room");
	pass();
}
