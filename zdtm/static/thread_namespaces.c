/*
 * title: threads in namespaces that their process is not in stay there, and so do children's to come
 * flavours: host ns userns
 * flags: suid
 * needs: timens
 * cflags: -pthread
 */
#include <sys/msg.h>
#include <sys/socket.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "threads.h"
#include "timens.h"

#define KEY   0x7eed
#define AHEAD 30000

/* first: with namespaces of its own; guest: in the first one's uts namespace; clocks, pids: of children to
 * come */
enum { FIRST, GUEST, CLOCKS, PIDS, THREADS };

static const char *kinds[] = {
	"uts", "ipc", "net", "cgroup", "pid", "time", "pid_for_children", "time_for_children"};
enum { UTS, IPC, NET, CGROUP, PID, TIME, PID_KIDS, TIME_KIDS, KINDS };

static uint32_t ready, go;
static pid_t tids[THREADS + 1];
static bool same[THREADS][KINDS];
static struct timens before;

static void link_of(pid_t tid, int kind, char *out, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/ns/%s", tid, kinds[kind]);
	n = readlink(path, out, size - 1);
	CHECK(n > 0 || errno == ENOENT, "%s: %m", path);
	out[n > 0 ? n : 0] = 0;
}

static bool is_same(pid_t one, pid_t other, int kind)
{
	char a[64], b[64];

	link_of(one, kind, a, sizeof(a));
	link_of(other, kind, b, sizeof(b));
	return !strcmp(a, b);
}

static void check_name(const char *wanted)
{
	char name[65];

	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, wanted), "the name is %s, not %s", name, wanted);
}

static short flags_of_lo(short also)
{
	struct ifreq lo = {.ifr_name = "lo"};
	int fd = SYS(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	SYS(ioctl(fd, SIOCGIFFLAGS, &lo));
	if (also) {
		lo.ifr_flags |= also;
		SYS(ioctl(fd, SIOCSIFFLAGS, &lo));
	}
	SYS(close(fd));
	return lo.ifr_flags;
}

static void here(int which)
{
	tids[which] = gettid();
	test_post(&ready);
	test_await(&go, 1);
}

static void *first(void *unused)
{
	char *cgroup;
	int queue;

	SYS(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP));
	SYS(sethostname("first", 5));
	queue = SYS(msgget(KEY, IPC_CREAT | 0600));
	flags_of_lo(IFF_UP);
	cgroup = test_read_file("/proc/thread-self/cgroup", NULL);
	here(FIRST);
	check_name("first");
	CHECK(SYS(msgget(KEY, 0)) == queue, "the queue is another");
	CHECK(flags_of_lo(0) & IFF_UP, "lo is down");
	CHECK(!strcmp(test_read_file("/proc/thread-self/cgroup", NULL), cgroup),
	      "the cgroup namespace begins elsewhere");
	SYS(sethostname("told", 4)); /* the guest */
	test_post(&ready);
	return unused;
}

static void *guest(void *unused)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/ns/uts", tids[FIRST]);
	fd = SYS(open(path, O_RDONLY | O_CLOEXEC));
	SYS(setns(fd, CLONE_NEWUTS));
	SYS(close(fd));
	here(GUEST);
	test_await(&ready, THREADS + 1);
	check_name("told");
	return unused;
}

static void *clocks(void *unused)
{
	pid_t kid;

	timens_make(AHEAD);
	here(CLOCKS);
	timens_check(&before, 0);
	kid = SYS(fork());
	if (!kid) {
		timens_check(&before, AHEAD);
		_exit(0);
	}
	test_reap(kid);
	return unused;
}

static void *pids(void *unused)
{
	pid_t kid;

	SYS(unshare(CLONE_NEWPID));
	here(PIDS);
	kid = SYS(fork());
	if (!kid)
		_exit(getpid() != 1);
	test_reap(kid);
	return unused;
}

int main(int argc, char **argv)
{
	void *(*const runs[])(void *) = {first, guest, clocks, pids};
	pthread_t threads[THREADS];
	char name[65];

	test_init(argc, argv);
	timens_look(getpid(), &before);
	SYS(gethostname(name, sizeof(name)));
	tids[THREADS] = getpid();
	for (int i = 0; i < THREADS; i++) {
		threads[i] = thread_start(runs[i], NULL);
		test_await(&ready, i + 1);
	}
	for (int i = 0; i < THREADS; i++)
		for (int kind = 0; kind < KINDS; kind++)
			same[i][kind] = is_same(tids[i], tids[THREADS], kind);
	CHECK(!same[FIRST][NET] && same[GUEST][NET] && !same[CLOCKS][TIME_KIDS] && !same[PIDS][PID_KIDS],
	      "the threads have not done what they were to do");
	test_daemon();
	test_waitsig();
	for (int i = 0; i < THREADS; i++)
		for (int kind = 0; kind < KINDS; kind++)
			CHECK(is_same(tids[i], tids[THREADS], kind) == same[i][kind], "thread %d: %s was %s",
			      i, kinds[kind], same[i][kind] ? "the process's" : "its own");
	CHECK(is_same(tids[FIRST], tids[GUEST], UTS), "the guest is somewhere else");
	check_name(name);
	CHECK(msgget(KEY, 0) < 0 && errno == ENOENT, "the queue is everybody's");
	test_post(&go);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
