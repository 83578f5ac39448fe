/*
 * title: four threads differ in all that a thread has of its own, and each keeps its own
 * flavours: host ns userns
 * cflags: -pthread -lm
 */
#include "registers.h"
#include "signals.h"
#include "threads.h"

#include <fenv.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { THREADS = 4, QUEUED = 3 };

/* linux/sched/types.h goes with no older library header. */
struct sched {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* All that is compared as bytes. */
struct state {
	char name[16];
	uint64_t mask;
	void *stack;
	size_t stack_size;
	int stack_flags;
	struct robust_list_head *robust;
	struct sched sched;
	cpu_set_t cpus;
	int slack, no_new_privs, ioprio, death_signal, rounding, x87_control;
	uint32_t mxcsr;
	sigset_t pending;
};

static const int policies[THREADS] = {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_OTHER};
static const int roundings[THREADS] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
static const int death_signals[THREADS] = {0, SIGURG, SIGWINCH, SIGCHLD};
static struct robust_list_head lists[THREADS];
static uint32_t ready, told;

/* A CPU for each thread, as far as there are some; the last one may go everywhere. */
static cpu_set_t cpus_for(int i)
{
	cpu_set_t all, one;
	int cpu, n = 0;

	SYS(sched_getaffinity(getpid(), sizeof(all), &all));
	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && n++ == i % CPU_COUNT(&all))
			CPU_SET(cpu, &one);
	return i < THREADS - 1 ? one : all;
}

static uint64_t mask_for(int i)
{
	return mask_bit(SIGTERM) | mask_bit(SIGUSR1) | mask_bit(SIGRTMIN) | mask_bit(SIGRTMIN + 1 + i) |
	       mask_bit(SIGHUP) << i;
}

static siginfo_t info_for(int i, int place)
{
	return siginfo_make(place ? SIGRTMIN : SIGUSR1, place ? SI_QUEUE : -7 - i,
			    (uint32_t)(50 * i + place + 1));
}

static struct state look(void)
{
	struct state now;
	stack_t stack;
	size_t size;

	memset(&now, 0, sizeof(now));
	SYS(prctl(PR_GET_NAME, now.name));
	now.mask = mask_get();
	SYS(sigaltstack(NULL, &stack));
	now.stack = stack.ss_sp;
	now.stack_size = stack.ss_size;
	now.stack_flags = stack.ss_flags;
	SYS(syscall(SYS_get_robust_list, 0, &now.robust, &size));
	SYS(syscall(SYS_sched_getattr, 0, &now.sched, sizeof(now.sched), 0));
	SYS(sched_getaffinity(0, sizeof(now.cpus), &now.cpus));
	now.slack = (int)SYS(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	now.no_new_privs = (int)SYS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	now.ioprio = (int)SYS(syscall(SYS_ioprio_get, 1, 0));
	SYS(prctl(PR_GET_PDEATHSIG, &now.death_signal));
	now.rounding = fegetround();
#ifdef __x86_64__
	unsigned short control;

	__asm__("fnstcw %0" : "=m"(control));
	now.x87_control = control;
	__asm__("stmxcsr %0" : "=m"(now.mxcsr));
#endif
	SYS(sigpending(&now.pending));
	return now;
}

static struct state make(int i)
{
	struct sched sched = {.size = sizeof(sched), .policy = (uint32_t)policies[i]};
	stack_t stack = {.ss_size = (size_t)(1 << 15) + 4096u * (unsigned int)i};
	cpu_set_t cpus = cpus_for(i);
	char name[16];

	snprintf(name, sizeof(name), "(%d) of) four", i);
	SYS(prctl(PR_SET_NAME, name));
	mask_set(mask_for(i));
	for (int place = 0; place < QUEUED; place++) {
		siginfo_t info = info_for(i, place);

		queue_to_thread(gettid(), &info);
	}
	stack.ss_sp = malloc(stack.ss_size);
	if (i != 2)
		SYS(sigaltstack(&stack, NULL));
	lists[i].list.next = &lists[i].list;
	SYS(syscall(SYS_set_robust_list, &lists[i], sizeof(lists[i])));
	sched.flags = i == 1 ? 1 : 0;	      /* SCHED_FLAG_RESET_ON_FORK */
	sched.runtime = i == 3 ? 7000000 : 0; /* its slice, since Linux 6.12 */
	/* it has no meaning under SCHED_IDLE */
	sched.nice = policies[i] == SCHED_IDLE ? 0 : 2 * i + 1;
	SYS(syscall(SYS_sched_setattr, 0, &sched, 0));
	SYS(sched_setaffinity(0, sizeof(cpus), &cpus));
	SYS(prctl(PR_SET_TIMERSLACK, 60000 + 1000 * i, 0, 0, 0));
	if (i & 1)
		SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SYS(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | i)); /* best effort, level i */
	SYS(prctl(PR_SET_PDEATHSIG, death_signals[i]));
	CHECK(!fesetround(roundings[i]), "no such rounding");
	return look();
}

#define SAME(field, format)                                                                              \
	CHECK(now.field == was->field, "thread %d: " #field " is " format ", not " format, i, now.field, \
	      was->field)

static void compare(int i, const struct state *was)
{
	struct state now = look();

	CHECK(!strcmp(now.name, was->name), "thread %d is called '%s'", i, now.name);
	SAME(mask, "%#lx");
	SAME(stack, "%p");
	SAME(stack_size, "%zu");
	SAME(stack_flags, "%#x");
	SAME(robust, "%p");
	SAME(sched.policy, "%u");
	SAME(sched.flags, "%#lx");
	SAME(sched.nice, "%d");
	SAME(sched.priority, "%u");
	SAME(sched.runtime, "%lu");
	CHECK(CPU_EQUAL(&now.cpus, &was->cpus), "thread %d may run on other CPUs", i);
	SAME(slack, "%d");
	SAME(no_new_privs, "%d");
	SAME(ioprio, "%#x");
	SAME(death_signal, "%d");
	SAME(rounding, "%#x");
	SAME(x87_control, "%#x");
	SAME(mxcsr, "%#x");
	CHECK(!memcmp(&now, was, sizeof(now)), "thread %d differs in something else", i);
	for (int place = 0; place < QUEUED; place++) {
		siginfo_t info = info_for(i, place);

		signal_expect(&info);
	}
	CHECK(!pending_get(), "thread %d has %#lx pending still", i, pending_get());
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;
	struct state was = make(i);
	struct held before, after;

	held_fill(&before, 77u + (uint32_t)i);
	test_post(&ready);
	do {
		held_call(SYS_futex, (long)&told, FUTEX_WAIT, 0, &before, &after);
		held_check(&before, &after, was.name);
	} while (!__atomic_load_n(&told, __ATOMIC_SEQ_CST));
	compare(i, &was);
	/* Of all that only the mask for new files is one for all. */
	CHECK(umask(0100 + i) < 0104, "the umask is not the others'");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	struct state was, now;
	int i;

	test_init(argc, argv);
	was = look();
	for (i = 0; i < THREADS; i++) {
		threads[i] = thread_start(thread, (void *)(intptr_t)i);
		test_await(&ready, (uint32_t)i + 1);
	}
	umask(0100);
	test_daemon();
	test_waitsig();
	test_post(&told);
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	CHECK(umask(0) >= 0100, "the threads have another umask");
	now = look();
	CHECK(!memcmp(&now, &was, sizeof(now)), "the leader has something of another thread");
	pass();
}
