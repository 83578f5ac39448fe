/*
 * title: a segment of huge pages has huge pages again
 * flavours: ns
 * flags: suid
 */
#include "shm.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	shm_run(4 << 20, SHM_HUGETLB);
}
