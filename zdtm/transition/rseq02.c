/*
 * title: a sequence that says that nothing restarts it is never aborted (kernels before 6.0 know the flags)
 * flavours: host
 * flags: noauto
 * arch: x86_64
 * needs: get_rseq_conf
 */
/* All of RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT, _SIGNAL and _MIGRATE. */
#define RSEQ_FLAGS 7
#include "rseq.h"

#include <sys/wait.h>
#include <unistd.h>

/* Newer kernels kill who uses the flags, as soon as they look at the descriptor. */
static bool flags_are_known(struct rseq *area)
{
	int status;
	pid_t child = SYS(fork());

	if (!child) {
		for (int i = 0; i < 200; i++)
			if (section(area, 2000000) == ABORTED)
				_exit(1);
		_exit(0);
	}
	SYS(waitpid(child, &status, 0));
	return !status;
}

/* Neither an abort nor a descriptor that the kernel has forgotten is right. */
int main(int argc, char **argv)
{
	unsigned long count[OUTCOMES] = {0};
	struct rseq *area;

	test_init(argc, argv);
	area = rseq_area();
	if (!flags_are_known(area))
		skip("this kernel does not know the flags of sequences that are not restarted");
	area->flags = RSEQ_FLAGS;
	rseq_run(area, count);
	CHECK(!count[ABORTED], "%lu sequences were aborted", count[ABORTED]);
	pass();
}
