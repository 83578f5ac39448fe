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
 * The graft is copied into dead bytes of an executable page of a frozen task (the zeroes behind the vdso).
 * The tracer points the task at its first instruction with the registers set for mmap(2) of the arena. From
 * there on the task can go home by itself at any moment: `entry` is zero until the arena is filled, so a
 * tracer that dies early leaves a task that unmaps the arena, puts its signal mask and registers back and
 * goes on where it was; a parked executor whose tracer dies jumps to graft_leave. No instruction before popfq
 * may change the flags: hence jrcxz and mov, never xor or cmp. After graft: entry, stack, prog, arena, size,
 * mask (abi.h), then flags, r15 ... rdi in the order of user_regs_struct, and the address to go on at.
 */
#define ARCH_GRAFT_ASM                                                                               \
	".balign 8\n"                                                                                \
	"graft: syscall\n"                                                                           \
	"mov graft_data+0(%rip), %rcx\n"                                                             \
	"jrcxz graft_leave\n"                                                                        \
	"mov graft_data+8(%rip), %rsp\n"                                                             \
	"mov graft_data+16(%rip), %rdi\n"                                                            \
	"jmp *%rcx\n"                                                                                \
	"graft_leave:\n"                                                                             \
	"mov $" STR(__NR_munmap) ", %eax\n"                                                          \
				 "mov graft_data+24(%rip), %rdi\n"                                   \
				 "mov graft_data+32(%rip), %rsi\n"                                   \
				 "syscall\n"                                                         \
				 "lea graft_data+48(%rip), %rsp\n"                                   \
				 "popfq\n"                                                           \
				 "mov graft_data+176(%rip), %rsp\n"                                  \
				 "mov $" STR(__NR_rt_sigprocmask) ", %eax\n"                         \
								  "mov $2, %edi\n"                   \
								  "lea graft_data+40(%rip), %rsi\n"  \
								  "mov $0, %edx\n"                   \
								  "mov $8, %r10d\n"                  \
								  "syscall\n"                        \
								  "mov graft_data+56(%rip), %r15\n"  \
								  "mov graft_data+64(%rip), %r14\n"  \
								  "mov graft_data+72(%rip), %r13\n"  \
								  "mov graft_data+80(%rip), %r12\n"  \
								  "mov graft_data+88(%rip), %rbp\n"  \
								  "mov graft_data+96(%rip), %rbx\n"  \
								  "mov graft_data+104(%rip), %r11\n" \
								  "mov graft_data+112(%rip), %r10\n" \
								  "mov graft_data+120(%rip), %r9\n"  \
								  "mov graft_data+128(%rip), %r8\n"  \
								  "mov graft_data+136(%rip), %rax\n" \
								  "mov graft_data+144(%rip), %rcx\n" \
								  "mov graft_data+152(%rip), %rdx\n" \
								  "mov graft_data+160(%rip), %rsi\n" \
								  "mov graft_data+168(%rip), %rdi\n" \
								  "jmp *graft_data+184(%rip)\n"      \
								  ".balign 8\n"                      \
								  "graft_data: .skip 192\n"          \
								  "graft_end:\n"

/* The image's first bytes: struct blob; then the entry (%rdi = program, %rsp = stack). */
#define ARCH_BLOB_ASM                                                                                    \
	__asm__(".section .start, \"ax\"\n"                                                              \
		".globl _start\n"                                                                        \
		"_start:\n"                                                                              \
		"blob_start:\n"                                                                          \
		".long entry - blob_start, a_syscall - blob_start, 2\n"                                  \
		".long graft - blob_start, graft_leave - graft, graft_data - graft, graft_end - graft\n" \
		".long blob_end - blob_start\n"                                                          \
		"entry: xor %ebp, %ebp\n"                                                                \
		"and $-16, %rsp\n"                                                                       \
		"call zd_run\n"                                                                          \
		"a_syscall: syscall\n"                                                                   \
		"hlt\n" ARCH_GRAFT_ASM ".previous\n");

#define ARCH_SEED_ASM                       \
	__asm__(".section .start, \"ax\"\n" \
		".globl _start\n"           \
		"_start: xor %ebp, %ebp\n"  \
		"and $-16, %rsp\n"          \
		"call zd_seed\n"            \
		".previous\n");
