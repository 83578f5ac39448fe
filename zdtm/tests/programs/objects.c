/*
 * Holds one of nearly every kind of object that needs no privilege, says "ready" and sleeps: a thread, a
 * child, pipes, sockets, timers, queues with something in them, files without a name, shared memory. Its
 * files go to the working directory.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int sockets(void)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "sock"};
	struct sockaddr_un abstract = {.sun_family = AF_UNIX};
	int pair[2], fd;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) || write(pair[0], "a queued packet", 15) != 15)
		return fail("socketpair");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&path, sizeof(path)) || listen(fd, 3))
		return fail("unix socket");
	snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "objects-%d", getpid());
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&abstract, sizeof(abstract)) || listen(fd, 3))
		return fail("abstract unix socket");
	in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&in4, sizeof(in4)) || listen(fd, 5))
		return fail("tcp socket");
	in6.sin6_addr = in6addr_loopback;
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	/* A host may be without IPv6: then the socket stays unbound. */
	if (fd >= 0)
		(void)!bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? fail("netlink socket") : 0;
}

static int files(void)
{
	int fd = open("ghost", O_RDWR | O_CREAT | O_APPEND, 0640);

	if (write(fd, "ghostly contents", 16) != 16 || unlink("ghost"))
		return fail("ghost file");
	fd = open("sparse", O_RDWR | O_CREAT, 0600);
	if (pwrite(fd, "x", 1, 64 << 10) != 1 || unlink("sparse"))
		return fail("sparse ghost file");
	fd = memfd_create("contents", MFD_ALLOW_SEALING);
	if (write(fd, "in a memfd", 10) != 10 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK))
		return fail("memfd");
	if (mkfifo("fifo", 0600))
		return fail("mkfifo");
	fd = open("fifo", O_RDWR);
	if (write(fd, "hello fifo", 10) != 10)
		return fail("fifo");
	return 0;
}

static int timers(void)
{
	struct itimerspec soon = {.it_value.tv_sec = 10000, .it_interval.tv_nsec = 5000000};
	struct itimerval real = {.it_value.tv_sec = 9999};
	timer_t timer;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (timerfd_settime(fd, 0, &soon, NULL) || setitimer(ITIMER_REAL, &real, NULL))
		return fail("timerfd");
	if (timer_create(CLOCK_MONOTONIC, NULL, &timer) || timer_settime(timer, 0, &soon, NULL))
		return fail("timer_create");
	return 0;
}

int main(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
	pthread_t thread;
	sigset_t set;
	int ends[2], fd, epoll;
	char *shared;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	if (pipe(ends) || write(ends[1], "hello pipe", 10) != 10)
		return fail("pipe");
	fd = eventfd(7, EFD_NONBLOCK);
	epoll = epoll_create1(0);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) || signalfd(-1, &set, 0) < 0)
		return fail("epoll");
	if (inotify_add_watch(inotify_init1(0), ".", IN_CREATE) < 0)
		return fail("inotify");
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return fail("mmap");
	strcpy(shared, "shared");
	if (sockets() || files() || timers())
		return 1;
	if (pthread_create(&thread, NULL, sleeper, NULL))
		return fail("pthread_create");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleeper(NULL);
	}
	puts("ready");
	fflush(stdout);
	sleeper(NULL);
	return 0;
}
