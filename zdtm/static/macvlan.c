/*
 * title: a macvlan device on a bridge outside of the tree comes back on that, with its mode and addresses
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
