/*
 * title: actions of a 32-bit program: all as they were, and their handlers get 32-bit frames of every kind
 * flavours: host ns userns
 * arch: x86_64
 * cflags: -m32
 * needs: compat_cr
 */
#include "compat.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ucontext.h>

enum { VALUE = 0x5eed, STACK = 65536, KERNEL_RESTORER = 0x04000000 };

/* struct sigaction as the kernel has it for 32-bit programs: the C library's own is another. */
struct action {
	uint32_t handler, flags, restorer, mask[2];
};

static char *stack;
static volatile uint32_t plain, told, nested, frames;

static void action_of(int sig, const struct action *new, struct action *old)
{
	SYS(syscall(SYS_rt_sigaction, sig, new, old, 8));
}

static bool on_stack(const void *address)
{
	return (const char *)address >= stack && (const char *)address < stack + STACK;
}

/* Without SA_SIGINFO: a frame of the older kind, left by sigreturn(2), which the vdso calls. */
static void on_plain(int sig)
{
	int here;

	CHECK(code_segment() == 0x23, "the handler of %d runs in segment %#x", sig, code_segment());
	CHECK(!on_stack(&here), "the handler of %d is on the other stack", sig);
	plain++;
}

static void on_told(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *context = ucontext;

	CHECK(on_stack(&context), "the handler of %d is not on its stack", sig);
	CHECK(info->si_signo == sig && info->si_code == SI_QUEUE && info->si_pid == getpid() &&
		      info->si_value.sival_int == VALUE,
	      "siginfo of %d: code %d, pid %d, value %#x", sig, info->si_code, info->si_pid,
	      info->si_value.sival_int);
	CHECK(context->uc_mcontext.gregs[REG_CS] == 0x23, "the frame of %d has segment %#x", sig,
	      context->uc_mcontext.gregs[REG_CS]);
	/* What the handler changes in the frame is what the program goes on with. */
	context->uc_mcontext.gregs[REG_EDI] = VALUE;
	told++;
}

/* The test is dumped in here: the frame that it leaves by is from before. */
static void on_nested(int sig, siginfo_t *info, void *ucontext)
{
	volatile uint32_t kept = 0x12345678;

	(void)ucontext;
	CHECK(info->si_signo == sig, "siginfo of %d", sig);
	frames++;
	test_daemon();
	test_waitsig();
	CHECK(kept == 0x12345678, "a variable of the handler is %#x", kept);
	nested++;
}

static uint32_t queue_to_self(int sig)
{
	uint32_t edi = 0;
	siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
	uint32_t pid = getpid();

	info.si_pid = pid;
	info.si_value.sival_int = VALUE;
	__asm__ volatile("push %%ebx\n mov %[pid], %%ebx\n int $0x80\n pop %%ebx"
			 : "=D"(edi), "+a"((uint32_t){SYS_rt_sigqueueinfo})
			 : "0"(0), [pid] "S"(pid), "c"(sig), "d"(&info)
			 : "memory");
	return edi;
}

int main(int argc, char **argv)
{
	struct action before[65], now, wild;
	struct sigaction action = {.sa_flags = 0};
	stack_t other = {.ss_size = STACK}, seen;
	siginfo_t info = {.si_signo = SIGRTMIN + 3, .si_code = SI_QUEUE};
	sigset_t mask, with;

	test_init(argc, argv);
	stack = other.ss_sp =
		SYS(mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	SYS(sigaltstack(&other, NULL));
	action_of(SIGUSR1, &(struct action){.handler = (uintptr_t)on_plain}, NULL);
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	action.sa_sigaction = on_told;
	SYS(sigaction(SIGUSR2, &action, NULL));
	SYS(sigaction(SIGRTMIN + 3, &action, NULL));
	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = on_nested;
	SYS(sigaction(SIGALRM, &action, NULL));
	/* Never to be called: every bit has to be kept. */
	wild = (struct action){0xfedcba98,
			       SA_RESTART | SA_NODEFER | KERNEL_RESTORER,
			       0x89abcdef,
			       {0xa5a5a5a5 & ~(1 << 8 | 1 << 18), 0x5a5a5a5a}};
	action_of(SIGRTMAX, &wild, NULL);
	action_of(SIGWINCH, &(struct action){.handler = (uintptr_t)SIG_IGN, .flags = SA_RESETHAND}, NULL);
	sigemptyset(&with);
	sigaddset(&with, SIGRTMIN + 3);
	SYS(sigprocmask(SIG_BLOCK, &with, &mask));
	info.si_pid = getpid();
	info.si_value.sival_int = VALUE;
	SYS(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 3, &info));
	for (int sig = 1; sig <= 64; sig++)
		action_of(sig, NULL, before + sig);
	CHECK(!memcmp(before + 64, &wild, sizeof(wild)), "the kernel has changed an action");
	SYS(raise(SIGALRM));
	CHECK(nested == 1 && frames == 1, "the handler returned %u times of %u", nested, frames);
	for (int sig = 1; sig <= 64; sig++) {
		action_of(sig, NULL, &now);
		CHECK(!memcmp(&now, before + sig, sizeof(now)), "the action of %d: %#x %#x %#x %#x %#x", sig,
		      now.handler, now.flags, now.restorer, now.mask[0], now.mask[1]);
	}
	SYS(sigaltstack(NULL, &seen));
	CHECK(seen.ss_sp == stack && seen.ss_size == STACK && !seen.ss_flags, "the stack differs");
	SYS(raise(SIGUSR1));
	CHECK(plain == 1, "the plain handler did not run");
	CHECK(queue_to_self(SIGUSR2) == VALUE && told == 1, "the handler with siginfo did not run");
	SYS(sigprocmask(SIG_SETMASK, &mask, NULL));
	CHECK(told == 2, "the pending signal is gone");
	pass();
}
