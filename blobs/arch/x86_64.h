/* x86-64: the system call instruction, starting a task on its own stack, and the graft. */
#include <asm/unistd_64.h>

#define ARCH_NR_futex	   __NR_futex
#define ARCH_NR_exit_group __NR_exit_group
#define ARCH_NR_pread64	   __NR_pread64
#define ARCH_NR_mmap	   __NR_mmap

#define STR_(x) #x
#define STR(x)	STR_(x)

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
 * user_regs_struct, sp, and the address to go on at.
 */
#define AT(offset) "graft_data+" STR(offset) "(%rip)"
#define HOME_1	   72
#define HOME_2	   232
#define HOMES_END  392
#define TAIL(home)                                                                  \
	"mov graft_data+" STR(home) "+112(%rip), %rcx\n"                            \
				    "mov graft_data+" STR(home) "+64(%rip), %rbx\n" \
								"jmp *graft_data+" STR(home) "+152(%rip)\n"

#define ARCH_GRAFT_ASM                                                                                                                                                                                                                                                                                            \
	".balign 8\n"                                                                                                                                                                                                                                                                                             \
	"graft: syscall\n"                                                                                                                                                                                                                                                                                        \
	"mov " AT(0) ", %rcx\n"                                                                                                                                                                                                                                                                                   \
		     "jrcxz 2f\n"                                                                                                                                                                                                                                                                                 \
		     "mov " AT(                                                                                                                                                                                                                                                                                   \
			     8) ", %rsp\n"                                                                                                                                                                                                                                                                        \
				"mov " AT(                                                                                                                                                                                                                                                                        \
					16) ", %rdi\n"                                                                                                                                                                                                                                                            \
					    "jmp *%rcx\n"                                                                                                                                                                                                                                                         \
					    "graft_leave:\n"                                                                                                                                                                                                                                                      \
					    "1: mov " AT(40) ", %rax\n"                                                                                                                                                                                                                                           \
							     "cmpl $1, (%rax)\n"                                                                                                                                                                                                                                  \
							     "jne 2f\n"                                                                                                                                                                                                                                           \
							     "mov $" STR(                                                                                                                                                                                                                                         \
								     __NR_sched_yield) ", %eax\n"                                                                                                                                                                                                                 \
										       "syscall\n"                                                                                                                                                                                                                \
										       "jmp 1b\n"                                                                                                                                                                                                                 \
										       "2: mov $" STR(__NR_munmap) ", %eax\n"                                                                                                                                                                                     \
														   "mov " AT(24) ", %rdi\n"                                                                                                                                                                       \
																 "mov " AT(32) ", %rsi\n"                                                                                                                                                         \
																	       "syscall\n"                                                                                                                                                        \
																	       "lea " AT(HOME_1) ", %rbx\n"                                                                                                                                       \
																				 "mov $0, %edx\n"                                                                                                                                 \
																				 "3: lea 16(%rbx), %rsp\n"                                                                                                                        \
																				 "popfq\n"                                                                                                                                        \
																				 "mov 144(%rbx), %rsp\n"                                                                                                                          \
																				 "mov $" STR(__NR_rt_sigprocmask) ", %eax\n"                                                                                                      \
																								  "mov $2, %edi\n"                                                                                                \
																								  "mov %rbx, %rsi\n"                                                                                              \
																								  "mov $8, %r10d\n"                                                                                               \
																								  "syscall\n"                                                                                                     \
																								  "mov 24(%rbx), %r15\n"                                                                                          \
																								  "mov 32(%rbx), %r14\n"                                                                                          \
																								  "mov 40(%rbx), %r13\n"                                                                                          \
																								  "mov 48(%rbx), %r12\n"                                                                                          \
																								  "mov 56(%rbx), %rbp\n"                                                                                          \
																								  "mov 72(%rbx), %r11\n"                                                                                          \
																								  "mov 80(%rbx), %r10\n"                                                                                          \
																								  "mov 88(%rbx), %r9\n"                                                                                           \
																								  "mov 96(%rbx), %r8\n"                                                                                           \
																								  "mov 104(%rbx), %rax\n"                                                                                         \
																								  "mov 120(%rbx), %rdx\n"                                                                                         \
																								  "mov 128(%rbx), %rsi\n"                                                                                         \
																								  "mov 136(%rbx), %rdi\n"                                                                                         \
																								  "jmp *8(%rbx)\n"                                                                                                \
																								  "graft_tail:\n" TAIL(HOME_1) "graft_thread_tail:\n" TAIL(                                                       \
																									  HOME_2) "graft_thread:\n"                                                                               \
																										  "mov " AT(                                                                                      \
																											  48) ", %rcx\n"                                                                          \
																											      "jrcxz graft_thread_leave\n"                                                        \
																											      "mov " AT(56) ", %rsp\n"                                                            \
																													    "mov " AT(64) ", %rdi\n"                                              \
																															  "jmp *%rcx\n"                                           \
																															  "graft_thread_leave:\n"                                 \
																															  "mov " AT(40) ", %rdx\n"                                \
																																	"lea " AT(                                \
																																		HOME_2) ", %rbx\n"                \
																																			"jmp 3b\n"                \
																																			".balign 8\n"             \
																																			"graft_data: .skip " STR( \
																																				HOMES_END) "\n"   \
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
		"entry: xor %ebp, %ebp\n"                                              \
		"and $-16, %rsp\n"                                                     \
		"call zd_run\n"                                                        \
		"a_syscall: syscall\n"                                                 \
		"hlt\n" ARCH_GRAFT_ASM ".previous\n");

#define ARCH_SEED_ASM                       \
	__asm__(".section .start, \"ax\"\n" \
		".globl _start\n"           \
		"_start: xor %ebp, %ebp\n"  \
		"and $-16, %rsp\n"          \
		"call zd_seed\n"            \
		".previous\n");
