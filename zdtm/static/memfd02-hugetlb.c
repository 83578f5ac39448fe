/*
 * title: a memfd of huge pages that is mapped in every way is one object, with huge pages
 * flavours: host ns userns
 * needs: memfd_hugetlb
 */
#include "memfd_mapped.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	memfd_run(MFD_HUGETLB | 21U << 26, 2 << 20);
}
