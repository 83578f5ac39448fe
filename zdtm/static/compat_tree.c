/*
 * title: a 32-bit program with children: copies of it, and a 64-bit program that one has executed
 * flavours: host ns userns
 * arch: x86_64
 * cflags: -m32
 * needs: compat_cr
 */
#include "compat.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SIZE = 1 << 18, BASE = 0x400000 };

/* Waits for SIGTERM with something in a register that 32-bit programs do not have; ends with 0 if it is kept.
 */
__asm__(".section .rodata\n"
	".code64\n"
	"program: movabs $0x0123456789abcdef, %r15\n"
	"lea 4f(%rip), %rdi\n"
	"1: xor %esi, %esi\n"
	"xor %edx, %edx\n"
	"mov $8, %r10d\n"
	"mov $128, %eax\n" /* rt_sigtimedwait */
	"syscall\n"
	"cmp $-4, %eax\n"
	"je 1b\n"
	"xor %edi, %edi\n"
	"cmp $15, %eax\n"
	"jne 2f\n"
	"movabs $0x0123456789abcdef, %rax\n"
	"cmp %rax, %r15\n"
	"je 3f\n"
	"2: inc %edi\n"
	"3: mov $231, %eax\n" /* exit_group */
	"syscall\n"
	"4: .quad 1 << 14\n"
	"program_end:\n"
	".code32\n"
	".previous\n");

extern const char program[], program_end[];

struct shared {
	uint32_t ready, go;
};

static struct shared *shared;
static char *memory;

static void write_program(const char *name)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr segment;
		char code[256];
	} file = {
		.head = {.e_ident = ELFMAG "\2\1\1",
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_entry = BASE + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			 .e_phoff = sizeof(Elf64_Ehdr),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1},
		.segment = {.p_type = PT_LOAD,
			    .p_flags = PF_R | PF_X,
			    .p_vaddr = BASE,
			    .p_filesz = sizeof(file),
			    .p_memsz = sizeof(file),
			    .p_align = 4096},
	};
	int fd = SYS(open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));

	memcpy(file.code, program, (size_t)(program_end - program));
	CHECK(write(fd, &file, sizeof(file)) == sizeof(file), "write: %m");
	SYS(close(fd));
}

static pid_t copy(uint32_t seed, int depth)
{
	pid_t pid = SYS(fork()), kid = 0;

	if (pid)
		return pid;
	test_fill(memory + 4096, 4096, seed);
	if (depth)
		kid = copy(seed + 1, depth - 1);
	test_post(&shared->ready);
	test_await(&shared->go, 1);
	CHECK(code_segment() == 0x23, "a child's code segment is %#x", code_segment());
	CHECK(test_differs(memory + 4096, 4096, seed) < 0, "the own memory of child %u differs", seed);
	CHECK(test_differs(memory + 8192, SIZE - 8192, 1) < 0, "memory of child %u differs", seed);
	if (kid)
		test_reap(kid);
	_exit(0);
}

static pid_t other(void)
{
	int ends[2];
	sigset_t set, before;
	char byte;
	pid_t pid;

	write_program("other");
	SYS(pipe2(ends, O_CLOEXEC));
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &set, &before));
	pid = SYS(fork());
	if (!pid) {
		execl("other", "other", NULL);
		fail("other: %m");
	}
	SYS(sigprocmask(SIG_SETMASK, &before, NULL));
	SYS(close(ends[1]));
	CHECK(SYS(read(ends[0], &byte, 1)) == 0, "the pipe was written to");
	SYS(close(ends[0]));
	return pid;
}

int main(int argc, char **argv)
{
	pid_t first, second, executed;
	char path[32], *text;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory + 8192, SIZE - 8192, 1);
	executed = other();
	first = copy(10, 2);
	second = copy(20, 0);
	test_await(&shared->ready, 4);
	test_daemon();
	test_waitsig();
	snprintf(path, sizeof(path), "/proc/%d/exe", executed);
	text = test_read_file(path, NULL);
	CHECK(!memcmp(text, ELFMAG "\2", 5), "the other program is not a 64-bit one");
	test_post(&shared->go);
	SYS(kill(executed, SIGTERM));
	test_reap(executed);
	test_reap(first);
	test_reap(second);
	for (int i = 4096; i < 8192; i++)
		CHECK(!memory[i], "the test has a child's memory");
	pass();
}
