/*
 * title: an executable memfd that is also mapped and open for reading can be executed
 * flavours: host ns userns
 */
#include "memfd_program.h"

int main(int argc, char **argv)
{
	struct memfd_state was, was_reader;
	unsigned char *common, *own;
	int fd, reader;

	if (argc > 1 && !strcmp(argv[1], "executed"))
		executed(NULL);
	test_init(argc, argv);
	fd = memfd_program();
	reader = memfd_reopen(fd, O_RDONLY | O_CLOEXEC);
	common = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	own = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0));
	own[0] = 'x';
	was = memfd_state(fd);
	was_reader = memfd_state(reader);
	ended(execute(fd, NULL));
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	memfd_check(reader, &was_reader);
	memfd_check_mapped(common, fd);
	memfd_check_mapped(own, fd);
	CHECK(own[0] == 'x' && own[1] == 'E' && common[0] == 0x7f, "the mappings hold something else");
	ended(execute(fd, NULL));
	pass();
}
