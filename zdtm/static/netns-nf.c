/*
 * title: rules of iptables are the same afterwards
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
