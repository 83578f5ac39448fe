/*
 * title: what was spliced, vmspliced or teed into a pipe is in it, whatever becomes of where it came from
 * flavours: host ns userns
 */
#include "fifo.h"

#include <sys/mman.h>
#include <sys/uio.h>

enum { PAGE = 4096, PART = 3 * PAGE, SEED = 64 };

int main(int argc, char **argv)
{
	int from_file[2], from_memory[2], copy[2], file;
	char *memory, got[2 * PART];
	struct iovec part;
	loff_t at = 100;

	test_init(argc, argv);
	SYS(pipe2(from_file, O_NONBLOCK));
	SYS(pipe2(from_memory, O_NONBLOCK));
	SYS(pipe2(copy, O_NONBLOCK));
	memory = SYS(mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory, PART, SEED);
	file = SYS(open("file", O_RDWR | O_CREAT, 0600));
	fd_put(file, memory, PART);
	CHECK(SYS(splice(file, &at, from_file[1], NULL, PART - 200, 0)) == PART - 200, "a short splice");
	part = (struct iovec){.iov_base = memory + 7, .iov_len = PART - 7};
	CHECK(SYS(vmsplice(from_memory[1], &part, 1, 0)) == PART - 7, "a short vmsplice");
	CHECK(SYS(tee(from_memory[0], copy[1], PART - 7, 0)) == PART - 7, "a short tee");
	fd_get(from_memory[0], got, 5000);
	fd_put(copy[1], "behind", 6);
	test_daemon();
	test_waitsig();
	check_waiting(from_file[0], PART - 200);
	check_waiting(from_memory[0], PART - 7 - 5000);
	check_waiting(copy[0], PART - 7 + 6);
	fd_get(from_file[0], got, PART - 200);
	CHECK(!memcmp(got, memory + 100, PART - 200), "other bytes than the file's");
	fd_get(from_memory[0], got, PART - 7 - 5000);
	CHECK(!memcmp(got, memory + 7 + 5000, PART - 7 - 5000), "other bytes than the memory's");
	fd_get(copy[0], got, PART - 7 + 6);
	CHECK(!memcmp(got, memory + 7, PART - 7), "other bytes than those of what was copied");
	CHECK(!memcmp(got + PART - 7, "behind", 6), "what was written behind it is not there");
	check_empty(from_file[0]);
	check_empty(copy[0]);
	pass();
}
