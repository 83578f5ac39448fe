/*
 * title: A thread in a cgroup below that of its process, and one in another branch.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 */
#include "zdtm.h"

#include <pthread.h>

#include "cgroup.h"

static const char *name;
static uint32_t *words;

static void *thread(void *path)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "cg%s", (char *)path);
	cg_write("0", "%s/tasks", dir);
	test_post(words);
	test_await(words + 1, 1);
	cg_is_at(name, path);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	test_init(argc, argv);
	words = test_shared(8);
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/other");
	cg_enter("cg/one");
	CHECK(!pthread_create(&threads[0], NULL, thread, "/one/two"), "pthread_create");
	CHECK(!pthread_create(&threads[1], NULL, thread, "/other"), "pthread_create");
	test_await(words, 2);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/one");
	test_post(words + 1);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	pass();
}
