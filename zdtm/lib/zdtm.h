/*
 * What a test program sees of the harness.
 *
 * A test sets its state up, calls test_daemon() to say that it may be dumped, waits with test_waitsig() (or
 * works on while test_go() says so), checks that the state is what it was, and ends in pass(), fail() or
 * skip().
 *
 * It starts in an empty directory of its own, as a session leader, with nothing but descriptors 0, 1 and 2
 * open: /dev/null and a log file.
 */
#ifndef ZDTM_H
#define ZDTM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

void test_init(int argc, char **argv);
void test_daemon(void);
void test_waitsig(void);

/* Have the hook of the case do its part outside (`prepare`), before there is a checkpoint. */
void test_outside(void);

/* True until the signal that ends the test has come; never blocks. */
bool test_go(void);

_Noreturn void pass(void);
_Noreturn void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line in the test's log. */
void test_msg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The absolute path of a name in the test's own directory; valid wherever the test has gone since. */
const char *test_path(const char *name);

/* Fill memory with bytes that depend on the seed, and the first offset that differs from that, or -1. */
void test_fill(void *memory, size_t length, uint32_t seed);
long test_differs(const void *memory, size_t length, uint32_t seed);

/*
 * Processes and threads of one test. fail() may be called in any of them, pass() only in the first.
 *
 * test_shared() is zeroed memory that all processes forked later have in common (a mapped file of the test's
 * directory). test_post() adds one to a word of it and wakes, test_await() sleeps until it is at least so
 * much; both work between threads too, and a sleeper may be dumped. test_reap() waits for the end of a child
 * that has to end with status 0.
 */
void *test_shared(size_t size);
void test_post(uint32_t *word);
void test_await(uint32_t *word, uint32_t least);
void test_reap(pid_t child);

/* Monotonic time in milliseconds; it goes on while the test is frozen. */
long test_now_ms(void);

/* The contents of a file as a string (NUL bytes kept, one added); its length goes to *length unless NULL. */
char *test_read_file(const char *path, size_t *length);

#define CHECK(condition, ...)              \
	do {                               \
		if (!(condition))          \
			fail(__VA_ARGS__); \
	} while (0)

/* The value of a call that must not return -1 (or MAP_FAILED). */
#define SYS(call)                                                                          \
	({                                                                                 \
		__auto_type sys_result = (call);                                           \
		if ((long)sys_result == -1)                                                \
			fail("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(errno)); \
		sys_result;                                                                \
	})

#endif
