/*
 * title: a file that is leased for writing and mapped is open once, and stays so
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

#include <sys/mman.h>

int main(int argc, char **argv)
{
	char *memory, *private, byte[1];
	int fd, other;

	test_init(argc, argv);
	leases_catch(SIGIO);
	fd = leases_take("file", O_RDWR, F_WRLCK);
	memory = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	private = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	private[1] = 'p';
	/* of this one nothing but a mapping is left */
	other = leases_take("reading", O_RDONLY, F_RDLCK);
	SYS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, other, 0));
	test_daemon();
	test_waitsig();
	leases_expect(fd, F_WRLCK);
	leases_expect(other, F_RDLCK);
	CHECK(!leases_told, "%d leases were broken", (int)leases_told);
	memory[0] = 'm';
	CHECK(pread(fd, byte, 1, 0) == 1 && *byte == 'm', "what is written to memory is not in the file");
	CHECK(!memcmp(private, "0p23456789", 10), "private memory has '%.10s'", private);
	/* a lease that is let go can be taken again only by one who is alone */
	SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
	SYS(fcntl(fd, F_SETLEASE, F_WRLCK));
	leases_break("file", O_RDONLY);
	CHECK(leases_told == 1, "%d signals", (int)leases_told);
	pass();
}
