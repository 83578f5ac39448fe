/*
 * title: a veth end that somebody has put into the namespace comes back, tied to a new end on a bridge
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
