/*
 * title: a 32-bit program: memory, registers that are held, segments of its own, locks, a thread, a signal
 * flavours: host ns userns
 * arch: x86_64
 * cflags: -m32 -msse2 -mno-avx -pthread
 * needs: compat_cr
 */
#include "compat.h"

#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

/* What a segment of a thread's own begins with; the thread reaches it by %fs alone. */
struct frame {
	uint32_t go;		  /* 0 */
	uint32_t in[6], out[6];	  /* 4, 28: eax, ebx, ecx, edx, esi, edi */
	uint32_t pad[3];	  /* to 64 */
	uint8_t xmm_in[128];	  /* 64 */
	uint8_t xmm_out[128];	  /* 192 */
	double x87_in, x87_out;	  /* 320, 328 */
	uint16_t word_in, word;	  /* 336, 338 */
	uint32_t mxcsr_in, mxcsr; /* 340, 344 */
} __attribute__((aligned(16)));

static __thread uint32_t local = 5;
static struct frame frames[2];
static uint32_t ready;
static volatile sig_atomic_t seen;

static void on_signal(int sig)
{
	seen = sig;
}

/* Everything that a thread has in registers, from before the dump to after the restore. */
static void hold(struct frame *f, uint32_t seed)
{
	uint32_t selector = segment_own(f, sizeof(*f)), saved;

	test_fill(f->in, sizeof(f->in), seed);
	test_fill(f->xmm_in, sizeof(f->xmm_in), seed + 1);
	f->x87_in = 1.0 / (seed + 2);
	f->word_in = 0x0b7f;  /* up, 64 bits of precision less: 53 and another rounding */
	f->mxcsr_in = 0x3f80; /* down */
	__asm__ volatile("mov %%fs, %0\n mov %w1, %%fs" : "=&r"(saved) : "r"(selector));
	test_post(&ready);
	__asm__ volatile("push %%ebx\n push %%ebp\n"
			 "fninit\n fldcw %%fs:336\n fldl %%fs:320\n ldmxcsr %%fs:340\n"
			 "movaps %%fs:64, %%xmm0\n movaps %%fs:80, %%xmm1\n"
			 "movaps %%fs:96, %%xmm2\n movaps %%fs:112, %%xmm3\n"
			 "movaps %%fs:128, %%xmm4\n movaps %%fs:144, %%xmm5\n"
			 "movaps %%fs:160, %%xmm6\n movaps %%fs:176, %%xmm7\n"
			 "mov %%fs:4, %%eax\n mov %%fs:8, %%ebx\n mov %%fs:12, %%ecx\n"
			 "mov %%fs:16, %%edx\n mov %%fs:20, %%esi\n mov %%fs:24, %%edi\n"
			 "1: pause\n cmpl $0, %%fs:0\n je 1b\n"
			 "mov %%eax, %%fs:28\n mov %%ebx, %%fs:32\n mov %%ecx, %%fs:36\n"
			 "mov %%edx, %%fs:40\n mov %%esi, %%fs:44\n mov %%edi, %%fs:48\n"
			 "movaps %%xmm0, %%fs:192\n movaps %%xmm1, %%fs:208\n"
			 "movaps %%xmm2, %%fs:224\n movaps %%xmm3, %%fs:240\n"
			 "movaps %%xmm4, %%fs:256\n movaps %%xmm5, %%fs:272\n"
			 "movaps %%xmm6, %%fs:288\n movaps %%xmm7, %%fs:304\n"
			 "fnstcw %%fs:338\n stmxcsr %%fs:344\n fstpl %%fs:328\n fninit\n"
			 "pop %%ebp\n pop %%ebx\n"
			 :
			 :
			 : "eax", "ecx", "edx", "esi", "edi", "memory", "st", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7");
	__asm__ volatile("mov %w0, %%fs" ::"r"(saved));
	CHECK(!memcmp(f->in, f->out, sizeof(f->in)), "general registers differ");
	CHECK(!memcmp(f->xmm_in, f->xmm_out, sizeof(f->xmm_in)), "xmm registers differ");
	CHECK(f->x87_in == f->x87_out, "st0 is %g instead of %g", f->x87_out, f->x87_in);
	CHECK(f->word == f->word_in, "the x87 control word is %#x", f->word);
	CHECK(f->mxcsr == f->mxcsr_in, "mxcsr is %#x", f->mxcsr);
}

static void *thread(void *unused)
{
	uint32_t *head, *len = (uint32_t[]){0};

	(void)unused;
	local = 7;
	head = robust_list(len);
	hold(&frames[1], 50);
	CHECK(local == 7, "the thread's variable is %u", local);
	CHECK(robust_list(len) == head && *len == 12, "the thread's robust list differs");
	return NULL;
}

int main(int argc, char **argv)
{
	const size_t size = 1 << 20;
	uint8_t *low = (void *)0x20000000, *high = (void *)0xe0000000, *more;
	uint32_t len, *head, segment, *own, again;
	struct sigaction action = {.sa_handler = on_signal};
	char *auxv, *now;
	struct timespec time;
	size_t words, words_now;
	sigset_t all, before;
	pthread_t id;

	test_init(argc, argv);
	for (int i = 0; i < 2; i++)
		test_fill(SYS(mmap(i ? high : low, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)),
			  size, 1 + i);
	own = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	own[3] = 0xabcdef01;
	segment = segment_own(own, 4096);
	__asm__ volatile("mov %w0, %%fs" ::"r"(segment));
	SYS(sigaction(SIGUSR1, &action, NULL));
	head = robust_list(&len);
	CHECK(head && len == 12, "this is no 32-bit program");
	auxv = test_read_file("/proc/self/auxv", &words);
	sigfillset(&all);
	SYS(sigprocmask(SIG_SETMASK, &all, &before));
	errno = pthread_create(&id, NULL, thread, NULL);
	CHECK(!errno, "pthread_create: %m");
	SYS(sigprocmask(SIG_SETMASK, &before, NULL));
	test_await(&ready, 1);
	local = 6;
	test_daemon();
	test_waitsig();
	CHECK(code_segment() == 0x23, "the code segment is %#x", code_segment());
	__asm__ volatile("mov %%fs, %0" : "=r"(again));
	CHECK((again & 0xffff) == segment, "fs is %#x instead of %#x", again, segment);
	__asm__ volatile("mov %%fs:12, %0" : "=r"(again));
	CHECK(again == own[3], "fs:12 is %#x", again);
	CHECK(local == 6, "a variable of the thread is %u", local);
	CHECK(test_differs(low, size, 1) < 0, "memory at %p differs", (void *)low);
	CHECK(test_differs(high, size, 2) < 0, "memory at %p differs", (void *)high);
	CHECK(robust_list(&len) == head && len == 12, "the robust list differs");
	now = test_read_file("/proc/self/auxv", &words_now);
	CHECK(words_now >= words && !memcmp(auxv, now, words), "the auxiliary vector differs");
	CHECK(getauxval(AT_SYSINFO_EHDR) && !memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF\1", 5),
	      "the vdso is not that of 32-bit programs");
	SYS(clock_gettime(CLOCK_MONOTONIC, &time));
	SYS(raise(SIGUSR1));
	CHECK(seen == SIGUSR1, "the handler did not run");
	/* An address that does not fit into 32 bits would be cut. */
	more = SYS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	memset(more, 1, size);
	CHECK(segment_own(own, 64) != segment, "a segment in use was given away");
	frames[1].go = 1;
	errno = pthread_join(id, NULL);
	CHECK(!errno, "pthread_join: %m");
	pass();
}
