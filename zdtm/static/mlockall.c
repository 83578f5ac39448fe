/*
 * title: what is mapped from now on is locked as it was to be, or is not, in each task by its own word
 * flavours: host ns userns
 */
#include "memory.h"

enum { PAGES = 8 };

static const struct {
	const char *name;
	int flags;
	bool back, locked, there;
} settings[] = {
	{"future", MCL_FUTURE, false, true, true},
	{"future on fault", MCL_FUTURE | MCL_ONFAULT, false, true, false},
	{"current", MCL_CURRENT | MCL_ONFAULT, false, false, false},
	{"nothing any more", MCL_FUTURE, true, false, false},
	{"both on fault", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, false, true, false},
};
enum { SETTINGS = sizeof(settings) / sizeof(*settings) };

static void check(int i, const char *when)
{
	unsigned char *memory = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	const char *name = settings[i].name;
	size_t there = pages_there(memory, PAGES);

	CHECK(has_flag(memory, "lo") == settings[i].locked, "%s: a new mapping is %slocked %s", name,
	      settings[i].locked ? "not " : "", when);
	CHECK(there == (settings[i].there ? PAGES : 0), "%s: %zu pages of a new mapping are there %s", name,
	      there, when);
	SYS(munmap(memory, PAGES * PAGE));
}

int main(int argc, char **argv)
{
	pid_t children[SETTINGS];
	struct {
		uint32_t ready, go;
	} *words;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	for (int i = 0; i < SETTINGS; i++) {
		children[i] = SYS(fork());
		if (children[i])
			continue;
		SYS(mlockall(settings[i].flags));
		if (settings[i].back)
			SYS(munlockall());
		check(i, "from the start");
		test_post(&words->ready);
		test_await(&words->go, 1);
		check(i, "now");
		_exit(0);
	}
	test_await(&words->ready, SETTINGS);
	test_daemon();
	test_waitsig();
	test_post(&words->go);
	for (int i = 0; i < SETTINGS; i++)
		test_reap(children[i]);
	pass();
}
