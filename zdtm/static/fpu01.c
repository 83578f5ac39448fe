/*
 * title: AVX registers of a sleeping task hold what they held, both halves
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx
 */
#include "hold.h"

#include <signal.h>

static uint32_t word;

static void on_term(int sig)
{
	(void)sig;
	word = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	static struct held before, after;
	const char *what;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	held_init(&before);
	test_fill(before.fx.xmm, sizeof(before.fx.xmm), 1);
	test_fill(before.high, sizeof(before.high), 2);
	test_daemon();
	hold(&before, &after, &word, HOLD_ASLEEP | HOLD_AVX);
	what = held_differs(&before, &after, HOLD_AVX);
	CHECK(!what, "%s is not what it was", what);
	pass();
}
