/*
 * title: a refused dump breaks no lease
 * flavours: host ns userns
 * flags: crfail
 */
#include "leases.h"

int main(int argc, char **argv)
{
	int r, w;

	test_init(argc, argv);
	leases_catch(SIGIO);
	r = leases_take("read", O_RDONLY, F_RDLCK);
	w = leases_take("write", O_RDWR, F_WRLCK);
	test_daemon();
	test_waitsig();
	locks_expect(r, "LEASE ACTIVE READ 0 EOF\n");
	locks_expect(w, "LEASE ACTIVE WRITE 0 EOF\n");
	CHECK(!leases_told, "%d leases were broken", (int)leases_told);
	pass();
}
