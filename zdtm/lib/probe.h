/* What one access to memory does: nothing, or which signal and code. For tests of protections. */
#ifndef ZDTM_PROBE_H
#define ZDTM_PROBE_H

#include <setjmp.h>
#include <signal.h>

#include "zdtm.h"

static sigjmp_buf probe_return;
static volatile sig_atomic_t probe_code;

static void probe_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	probe_code = info->si_code;
	siglongjmp(probe_return, sig);
}

enum probe_access { PROBE_READ, PROBE_WRITE, PROBE_EXECUTE };

/* An instruction that returns; a test of execution puts it where it probes. */
#if defined(__x86_64__) || defined(__i386__)
static const unsigned char probe_return_instruction[] = {0xc3};
#elif defined(__aarch64__)
static const unsigned char probe_return_instruction[] = {0xc0, 0x03, 0x5f, 0xd6};
#else
#error "the return instruction of this architecture is missing"
#endif

/* 0, or the signal that the access raised; its si_code is in probe_code then. */
static inline int probe(void *address, enum probe_access how)
{
	struct sigaction action = {.sa_sigaction = probe_fault, .sa_flags = SA_SIGINFO}, segv, bus;
	volatile unsigned char *byte = address;
	int sig;

	SYS(sigaction(SIGSEGV, &action, &segv));
	SYS(sigaction(SIGBUS, &action, &bus));
	sig = sigsetjmp(probe_return, 1);
	if (!sig) {
		if (how == PROBE_READ)
			(void)*byte;
		else if (how == PROBE_WRITE)
			*byte = *byte;
		else
			((void (*)(void))address)();
	}
	SYS(sigaction(SIGSEGV, &segv, NULL));
	SYS(sigaction(SIGBUS, &bus, NULL));
	return sig;
}

#endif
