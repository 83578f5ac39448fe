/*
 * title: a file open for appending appends still, wherever its position is
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

static void put(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "short write");
}

int main(int argc, char **argv)
{
	int fd, other;
	char *text;
	long at;

	test_init(argc, argv);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_RDWR | O_APPEND, 0600));
	put(fd, "one ");
	SYS(lseek(fd, 1, SEEK_SET));
	test_daemon();
	test_waitsig();
	at = SYS(lseek(fd, 0, SEEK_CUR));
	CHECK(at == 1, "the position is %ld instead of 1", at);
	CHECK(fcntl(fd, F_GETFL) & O_APPEND, "O_APPEND is gone");
	other = SYS(open("file", O_WRONLY | O_APPEND));
	put(other, "two ");
	put(fd, "three");
	text = test_read_file("file", NULL);
	CHECK(!strcmp(text, "one two three"), "the file holds '%s'", text);
	pass();
}
