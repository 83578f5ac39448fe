/* Once without, and once with another file under the name of the deleted one. */
#include "files.h"

enum { FIRST = 1000, SIZE = 5000 };

int main(int argc, char **argv)
{
	unsigned char data[SIZE];
	struct stat st;
	int fd, again, other = -1;

	test_init(argc, argv);
	test_fill(data, SIZE, 1);
	fd = SYS(open("file", O_WRONLY | O_CREAT | O_EXCL, 0600));
	CHECK(write(fd, data, FIRST) == FIRST, "a short write");
	SYS(unlink("file"));
	CHECK(write(fd, data + FIRST, SIZE - FIRST) == SIZE - FIRST, "a short write");
	if (SAME_NAME)
		other = file_make("file", 77, 2);
	test_daemon();
	test_waitsig();
	st = file_stat(fd);
	CHECK(st.st_size == SIZE, "%ld bytes instead of %d", (long)st.st_size, SIZE);
	file_links(fd, 0);
	file_position(fd, SIZE);
	CHECK(SYS(lseek(fd, 0, SEEK_END)) == SIZE, "it ends elsewhere");
	if (SAME_NAME) {
		file_links(other, 1);
		again = SYS(open("file", O_RDONLY));
		CHECK(file_same(again, other) && !file_same(fd, other), "the other file is another one");
		file_holds(other, 77, 2);
	} else {
		file_absent("file");
	}
	CHECK(write(fd, data, 1) == 1 && file_stat(fd).st_size == SIZE + 1, "it does not grow");
	pass();
}
