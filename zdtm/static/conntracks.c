/*
 * title: connections that the kernel tracks stay known, with their state
 * flavours: ns userns
 * flags: suid
 */
#include "zdtm.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	test_daemon();
	test_waitsig();
	pass();
}
