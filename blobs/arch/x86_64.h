/* x86-64: the system call instructions, starting a task on its own stack, and the graft. */
#include <asm/unistd_64.h>

#define ARCH_NR_futex	       __NR_futex
#define ARCH_NR_exit_group     __NR_exit_group
#define ARCH_NR_exit	       __NR_exit
#define ARCH_NR_gettid	       __NR_gettid
#define ARCH_NR_pread64	       __NR_pread64
#define ARCH_NR_mmap	       __NR_mmap
#define ARCH_NR_sched_yield    __NR_sched_yield
#define ARCH_NR_madvise	       __NR_madvise
#define ARCH_NR_preadv	       __NR_preadv
#define ARCH_NR_pidfd_getfd    __NR_pidfd_getfd
#define ARCH_NR_fcntl	       __NR_fcntl
#define ARCH_NR_io_uring_enter __NR_io_uring_enter

static inline long arch_syscall(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * A system call as 32-bit programs make it, with that table's numbers and structures, by 64-bit code:
 * pointers must lie below 4 GiB. Five arguments: the sixth would be in the frame pointer.
 */
static inline long arch_syscall32(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	u64 ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "r8", "r9", "r10", "r11", "memory");
	return (int)ret;
}

/* clone3(args, size): the child starts on the stack that args name, and runs the program at prog. */
static inline long arch_spawn(u64 args, u64 size, u64 prog)
{
	long ret;

	__asm__ volatile("syscall\n"
			 "test %%rax, %%rax\n"
			 "jnz 1f\n"
			 "mov %[prog], %%rdi\n"
			 "xor %%ebp, %%ebp\n"
			 "call zd_run\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((u64)__NR_clone3), "D"(args), "S"(size), [prog] "r"(prog)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline void __attribute__((noreturn)) arch_jump(u64 to)
{
	__asm__ volatile("jmp *%0" ::"r"(to));
	__builtin_unreachable();
}

static inline void __attribute__((noreturn)) arch_enter(u64 entry, u64 prog, u64 stack)
{
	__asm__ volatile("mov %2, %%rsp\n"
			 "xor %%ebp, %%ebp\n"
			 "jmp *%0"
			 :
			 : "r"(entry), "D"(prog), "r"(stack));
	__builtin_unreachable();
}

/*
 * The graft is copied into dead bytes of an executable page of a frozen task (the zeroes behind the vdso),
 * which the task itself cannot write. The tracer points the first thread at its first instruction with the
 * registers set for mmap(2) of the arena. From there on the thread can go home by itself at any moment:
 * `entry` is zero until the arena is filled, so a tracer that dies early leaves a task that unmaps the arena,
 * puts signal mask and registers back and goes on where it was; a parked executor whose tracer dies jumps to
 * graft_leave.
 *
 * The task's other threads visit the arena one at a time, by graft_thread, while the first one waits there.
 * It alone unmaps it, and not while the arena's word `inside` is 1. The tracer sets that when the thread
 * already is at graft_thread, and only then thread_entry, without which it turns round. The last that a
 * thread does with the arena is to have the kernel store its old signal mask over the word, which does no
 * harm where nothing is mapped any more.
 *
 * Signals arrive again from rt_sigprocmask on, so the stack pointer is the task's own by then, and no flag
 * may change after popfq. Data: struct graft, then two homes: struct home, flags, r15 ... rdi in the order of
 * user_regs_struct, sp, and the address to go on at. %rbx is a home's address and 48, so that all of it, and
 * of struct graft, is near: small enough for the 32-bit vdso, which has 623 bytes of zeroes.
 *
 * The graft is 64-bit code in a 32-bit task too. Its last instruction, a jump through memory, is then made a
 * far one (one bit: engine/arch/x86_64.py), and the selector of 32-bit code lies behind the address. A signal
 * on the way home finds the task's own stack, below 4 GiB; its 32-bit frame keeps the code segment, and of
 * the registers the lower halves, in which all addresses here fit; all others have been put back by then or
 * are about to be.
 */
_Static_assert(__NR_sched_yield == 24 && __NR_munmap == 11 && __NR_rt_sigprocmask == 2 + 12, "");

#define ARCH_GRAFT_ASM                                       \
	".set home_1, graft_data + 72\n"                     \
	".set home_2, home_1 + 160\n"                        \
	".balign 8\n"                                        \
	"graft: syscall\n"                                   \
	"lea home_1+48(%rip), %rbx\n"                        \
	"mov -120(%rbx), %rcx\n" /* graft.entry */           \
	"jrcxz 2f\n"                                         \
	"mov -112(%rbx), %rsp\n" /* graft.stack */           \
	"mov -104(%rbx), %rdi\n" /* graft.prog */            \
	"jmp *%rcx\n"                                        \
	"graft_leave:\n"                                     \
	"lea home_1+48(%rip), %rbx\n"                        \
	"1: mov -80(%rbx), %rax\n" /* graft.inside */        \
	"cmpl $1, (%rax)\n"                                  \
	"jne 2f\n"                                           \
	"mov $24, %eax\n" /* sched_yield */                  \
	"syscall\n"                                          \
	"jmp 1b\n"                                           \
	"2: mov $11, %eax\n"	/* munmap */                 \
	"mov -96(%rbx), %rdi\n" /* graft.arena */            \
	"mov -88(%rbx), %rsi\n" /* graft.size */             \
	"syscall\n"                                          \
	"xor %edx, %edx\n"                                   \
	"3: lea -32(%rbx), %rsp\n"                           \
	"popfq\n"                                            \
	"pop %r15\n"                                         \
	"pop %r14\n"                                         \
	"pop %r13\n"                                         \
	"pop %r12\n"                                         \
	"pop %rbp\n"                                         \
	"pop %rsi\n" /* rbx, r11, r10: later */              \
	"pop %rsi\n"                                         \
	"pop %rsi\n"                                         \
	"pop %r9\n"                                          \
	"pop %r8\n"                                          \
	"mov 96(%rbx), %rsp\n"                               \
	"mov $2, %edi\n"       /* SIG_SETMASK */             \
	"lea 12(%rdi), %eax\n" /* rt_sigprocmask */          \
	"lea -48(%rbx), %rsi\n"                              \
	"lea 6(%rdi), %r10d\n" /* 8 */                       \
	"syscall\n"                                          \
	"mov 24(%rbx), %r11\n"                               \
	"mov 32(%rbx), %r10\n"                               \
	"mov 56(%rbx), %rax\n"                               \
	"mov 64(%rbx), %rcx\n"                               \
	"mov 72(%rbx), %rdx\n"                               \
	"mov 80(%rbx), %rsi\n"                               \
	"mov 88(%rbx), %rdi\n"                               \
	"jmp *-40(%rbx)\n"                                   \
	"graft_tail:\n"                                      \
	"mov home_1+64(%rip), %rbx\n"                        \
	"jmp *home_1+152(%rip)\n"                            \
	"graft_thread_tail:\n"                               \
	"mov home_2+64(%rip), %rbx\n"                        \
	"jmp *home_2+152(%rip)\n"                            \
	"graft_thread:\n"                                    \
	"mov graft_data+48(%rip), %rcx\n" /* thread_entry */ \
	"jrcxz graft_thread_leave\n"                         \
	"mov graft_data+56(%rip), %rsp\n" /* thread_stack */ \
	"mov graft_data+64(%rip), %rdi\n" /* thread_prog */  \
	"jmp *%rcx\n"                                        \
	"graft_thread_leave:\n"                              \
	"mov graft_data+40(%rip), %rdx\n" /* graft.inside */ \
	"lea home_2+48(%rip), %rbx\n"                        \
	"jmp 3b\n"                                           \
	".balign 8\n"                                        \
	"graft_data: .skip 392\n"                            \
	"graft_end:\n"

/* The image's first bytes: struct blob; then the entry (%rdi = program, %rsp = stack). */
#define ARCH_BLOB_ASM                                                                  \
	__asm__(".section .start, \"ax\"\n"                                            \
		".globl _start\n"                                                      \
		"_start:\n"                                                            \
		"blob_start:\n"                                                        \
		".long entry - blob_start, a_syscall - blob_start, 2\n"                \
		".long graft - blob_start, graft_leave - graft\n"                      \
		".long graft_thread - graft, graft_thread_leave - graft\n"             \
		".long graft_tail - graft, graft_thread_tail - graft\n"                \
		".long graft_data - graft, graft_end - graft, blob_end - blob_start\n" \
		".long a_syscall32 - blob_start\n"                                     \
		"entry: xor %ebp, %ebp\n"                                              \
		"and $-16, %rsp\n"                                                     \
		"call zd_run\n"                                                        \
		"a_syscall: syscall\n"                                                 \
		"hlt\n"                                                                \
		"a_syscall32: int $0x80\n"                                             \
		"hlt\n" ARCH_GRAFT_ASM ".previous\n");

#define ARCH_SEED_ASM                       \
	__asm__(".section .start, \"ax\"\n" \
		".globl _start\n"           \
		"_start: xor %ebp, %ebp\n"  \
		"and $-16, %rsp\n"          \
		"call zd_seed\n"            \
		".previous\n");
