/*
 * title: a ruleset of nftables, with counters, is the same afterwards
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
