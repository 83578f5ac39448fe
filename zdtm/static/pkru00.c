/*
 * title: the rights of protection keys are what they were
 * flavours: host ns userns
 * arch: x86_64
 * needs: pku
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/syscall.h>

/* Every key its own rights, but for key 0, which all memory has. */
#define RIGHTS 0x6c6c9b64u

static uint32_t sleep_with(uint32_t rights, long *result)
{
	static const sigset_t none;
	uint32_t own;

	__asm__ volatile("xor %%ecx, %%ecx; rdpkru; mov %%eax, %[own]\n"
			 "mov %[rights], %%eax; xor %%edx, %%edx; xor %%ecx, %%ecx; wrpkru\n"
			 "mov %[number], %%eax; syscall; mov %%rax, %[result]\n"
			 "xor %%ecx, %%ecx; rdpkru; mov %%eax, %[rights]\n"
			 "mov %[own], %%eax; xor %%edx, %%edx; xor %%ecx, %%ecx; wrpkru\n"
			 : [own] "=&r"(own), [rights] "+&r"(rights), [result] "=&r"(*result)
			 : [number] "i"(SYS_rt_sigsuspend), "D"(&none), "S"(8UL)
			 : "rax", "rcx", "rdx", "r11", "memory");
	return rights;
}

int main(int argc, char **argv)
{
	sigset_t term;
	uint32_t got;
	long result;

	test_init(argc, argv);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	got = sleep_with(RIGHTS, &result);
	CHECK(result == -EINTR, "sigsuspend returned %ld", result);
	CHECK(got == RIGHTS, "the rights are %x instead of %x", got, RIGHTS);
	pass();
}
