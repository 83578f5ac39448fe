/*
 * title: Threads of a process in threaded cgroups of version 2, each in its own.
 * flavours: host ns
 * flags: suid
 * opts: --manage-cgroups=full
 */
#include "zdtm.h"

#include <pthread.h>

#include "cgroup.h"

static char top[96], dirs[2][128];
static uint32_t *words;

static void *thread(void *dir)
{
	cg_write("0", "%s/cgroup.threads", (char *)dir);
	test_post(words);
	test_await(words + 1, 1);
	cg_is_at("", strchr(dir, '/'));
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	test_init(argc, argv);
	words = test_shared(8);
	cg_mount(NULL, "cg");
	snprintf(top, sizeof(top), "cg/%s", cg_name(""));
	cg_mkdir(top);
	for (int i = 0; i < 2; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/thread%d", top, i);
		cg_mkdir(dirs[i]);
		cg_write("threaded", "%s/cgroup.type", dirs[i]);
	}
	cg_enter(top);
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, dirs[i]), "pthread_create");
	test_await(words, 2);

	test_daemon();
	test_waitsig();

	cg_is_at("", strchr(top, '/'));
	test_post(words + 1);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		cg_says(dirs[i], "cgroup.type", "threaded");
	}
	SYS(umount2("cg", MNT_DETACH));
	pass();
}
