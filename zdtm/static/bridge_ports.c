/*
 * title: a bridge with two veth ports, their other ends, indexes and addresses are the same afterwards
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
