/*
 * title: every thread's robust list is where it was: the library's, one of the test's own, none
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/futex.h>

enum { THREADS = 3 };

static const char *const names[THREADS + 1] = {"library's", "own", "no", "leader's"};
static struct robust_list_head own = {.list = {&own.list}, .futex_offset = 24};
static struct {
	pid_t tid;
	struct robust_list_head *head;
} lists[THREADS + 1];
static uint32_t ready, told;

static struct robust_list_head *head_of(pid_t tid)
{
	struct robust_list_head *head = (void *)-1;
	size_t size = 0;

	SYS(syscall(SYS_get_robust_list, tid, &head, &size));
	CHECK(size == sizeof(*head), "the length is %zu", size);
	return head;
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;

	if (i == 1)
		SYS(syscall(SYS_set_robust_list, &own, sizeof(own)));
	if (i == 2)
		SYS(syscall(SYS_set_robust_list, NULL, sizeof(own)));
	lists[i].tid = gettid();
	lists[i].head = head_of(0);
	test_post(&ready);
	test_await(&told, 1);
	CHECK(head_of(0) == lists[i].head, "the thread with %s list sees %p, not %p", names[i], head_of(0),
	      lists[i].head);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	for (intptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)i);
	test_await(&ready, THREADS);
	lists[THREADS].tid = getpid();
	lists[THREADS].head = head_of(0);
	CHECK(lists[1].head == &own && !lists[2].head, "set_robust_list has not worked");
	test_daemon();
	test_waitsig();
	for (int i = 0; i <= THREADS; i++)
		CHECK(head_of(lists[i].tid) == lists[i].head, "%s list is at %p, not %p", names[i],
		      head_of(lists[i].tid), lists[i].head);
	CHECK(own.list.next == &own.list && own.futex_offset == 24, "the own list has changed");
	test_post(&told);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
