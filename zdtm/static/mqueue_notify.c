/*
 * title: a message queue with a notification is refused, and keeps it
 * flavours: host
 * flags: crfail
 * cflags: -lrt
 */
#include <signal.h>

#include "mqueue.h"

int main(int argc, char **argv)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	siginfo_t info;
	sigset_t set;
	mqd_t queue;

	test_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
	queue = mq_make(0, O_RDWR, 0600, 3, 16);
	SYS(mq_unlink(mq_name(0)));
	event.sigev_value.sival_int = 77;
	SYS(mq_notify(queue, &event));
	test_daemon();
	test_waitsig();
	mq_put(queue, "x", 0);
	SYS(sigwaitinfo(&set, &info));
	CHECK(info.si_value.sival_int == 77 && info.si_code == SI_MESGQ, "%d, code %d",
	      info.si_value.sival_int, info.si_code);
	pass();
}
