/*
 * title: of a segment of 64 GiB there is after a restore what there was: a few pages
 * flavours: ns userns
 */
#include "memory.h"
#include "sysv.h"

static const size_t places[] = {0, 1, 5000, 1 << 20, (1 << 24) - 1};

enum { COUNT = sizeof(places) / sizeof(*places) };

/* Pages of System V shared memory in this namespace. */
static unsigned long used(void)
{
	struct shm_info info;

	SYS(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	return info.shm_rss;
}

int main(int argc, char **argv)
{
	unsigned char *memory;
	int id, idle;

	test_init(argc, argv);
	id = SYS(shmget(IPC_PRIVATE, (1UL << 24) * PAGE, SHM_NORESERVE | 0600));
	idle = SYS(shmget(0x77, (1UL << 20) * PAGE, IPC_CREAT | SHM_NORESERVE | 0600));
	memory = SYS(shmat(id, NULL, 0));
	for (int i = 0; i < COUNT; i++)
		pages_fill(memory + places[i] * PAGE, 1, (uint32_t)i);
	CHECK(used() == COUNT, "%lu pages are used", used());
	test_daemon();
	test_waitsig();
	CHECK(shm_stat(id).shm_segsz == (1UL << 24) * PAGE, "its size is %zu", shm_stat(id).shm_segsz);
	CHECK(shm_stat(idle).shm_segsz == (1UL << 20) * PAGE, "the idle one's is %zu",
	      shm_stat(idle).shm_segsz);
	CHECK(used() <= COUNT, "%lu pages are used after", used());
	for (int i = 0; i < COUNT; i++)
		pages_check(memory + places[i] * PAGE, 1, (uint32_t)i, "a place");
	zeros_check(memory + 2 * PAGE, 100, "a hole");
	pass();
}
