/*
 * title: tun and tap devices come back with their queues, attached or not, their settings and persistence
 * flavours: ns userns
 * flags: suid
 * needs: tun
 */
#include "tun.h"

int main(int argc, char **argv)
{
	int files[FILES];

	test_init(argc, argv);
	tun_make(files);
	test_daemon();
	test_waitsig();
	tun_check(files);
	pass();
}
