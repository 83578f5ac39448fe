/* Does to its memory what it is told on standard input, one command a line, and answers each with one number.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)

/* Recurses `pages` pages below where it is, and writes to each; the lowest address it wrote to. */
static __attribute__((noinline)) unsigned long descend(unsigned long pages)
{
	volatile char frame[4096];
	unsigned long below;

	frame[0] = 1;
	below = pages ? descend(pages - 1) : (unsigned long)frame;
	frame[1] = 1; /* not a tail call */
	return below;
}

static unsigned long map(const char *kind, unsigned long size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *p;

	if (!strcmp(kind, "shared"))
		flags = MAP_SHARED | MAP_ANONYMOUS;
	if (!strcmp(kind, "hugetlb"))
		flags |= MAP_HUGETLB;
	if (!strcmp(kind, "file"))
		return (unsigned long)mmap(NULL, size, RW, MAP_PRIVATE, open("file", O_RDWR), 0);
	if (strcmp(kind, "thp"))
		return (unsigned long)mmap(NULL, size, RW, flags, -1, 0);
	p = mmap(NULL, size + (2 << 20), RW, flags, -1, 0);
	p = (char *)(((unsigned long)p + (2 << 20) - 1) & ~((2ul << 20) - 1));
	madvise(p, size, MADV_HUGEPAGE);
	return (unsigned long)p;
}

int main(void)
{
	char line[128], word[16];
	unsigned long a, b;

	setlinebuf(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long answer = 0;

		a = b = 0;
		if (sscanf(line, "map %15s %lu", word, &a) == 2)
			answer = map(word, a);
		else if (sscanf(line, "write %lu %lu", &a, &b) == 2)
			for (unsigned long i = 0; i < b; i++)
				++*(volatile char *)(a + i * 4096);
		else if (sscanf(line, "read %lu", &a) == 1)
			answer = *(volatile unsigned char *)a;
		else if (sscanf(line, "unmap %lu %lu", &a, &b) == 2)
			answer = munmap((void *)a, b);
		else if (sscanf(line, "protect %lu %lu", &a, &b) == 2)
			answer = mprotect((void *)a, 4096, b);
		else if (sscanf(line, "move %lu %lu", &a, &b) == 2)
			answer = (unsigned long)mremap((void *)a, b, 2 * b, MREMAP_MAYMOVE);
		else if (sscanf(line, "drop %lu %lu", &a, &b) == 2)
			answer = madvise((void *)a, b, MADV_DONTNEED);
		else if (sscanf(line, "pageout %lu %lu", &a, &b) == 2)
			answer = madvise((void *)a, b, MADV_PAGEOUT);
		else if (sscanf(line, "pread %lu %lu", &a, &b) == 2) /* the kernel writes */
			answer = pread(open("/dev/zero", O_RDONLY), (void *)a, b, 0);
		else if (sscanf(line, "descend %lu", &a) == 1)
			answer = descend(a);
		else if (!strcmp(line, "exec\n"))
			execl("/proc/self/exe", "writer", (char *)NULL);
		else if (sscanf(line, "fork %lu", &a) == 1) {
			answer = fork();
			if (!answer) {
				++*(volatile char *)a;
				for (;;)
					pause();
			}
		} else if (sscanf(line, "brk %lu", &a) == 1)
			answer = (unsigned long)sbrk(a);
		else
			return 1;
		printf("%lu\n", answer);
	}
	return 0;
}
