/*
 * title: arguments, environment and auxiliary vector stay where the kernel shows them
 * flavours: host ns userns
 * args: --first 'two words' '' last
 */
#include "zdtm.h"

static const char *const files[] = {"/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv"};

int main(int argc, char **argv)
{
	size_t length[3], now;
	char *text[3];
	int i;

	test_init(argc, argv);
	for (i = 0; i < 3; i++)
		text[i] = test_read_file(files[i], &length[i]);
	CHECK(argc == 5 && !strcmp(argv[2], "two words") && !*argv[3],
	      "the arguments are wrong from the start");
	test_daemon();
	test_waitsig();
	for (i = 0; i < 3; i++) {
		char *after = test_read_file(files[i], &now);

		CHECK(length[i] > 0 && now == length[i], "%s has %zu bytes instead of %zu", files[i], now,
		      length[i]);
		CHECK(!memcmp(text[i], after, now), "%s differs", files[i]);
	}
	pass();
}
