/* A thread's visit to the arena that is mapped in its task: the few system calls for it, in one place for
 * speed. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"

#define SLICE_US     100000
#define EVENT_STOP   128
#define SETSIGMASK   0x420b
#define KEPT	     (int)(sizeof(((struct zd_visit *)0)->kept) / sizeof(int))
#define IS_EVENT(st) ((st) >> 16 == EVENT_STOP)

static long put(int fd, const void *data, unsigned long size, unsigned long at)
{
	long r = pwrite(fd, data, size, at);

	return r < 0 ? -errno : r == (long)size ? 0 : -EIO;
}

static void store(struct zd_visit *v, unsigned at, uint64_t value)
{
	__atomic_store_n((uint64_t *)((char *)v->view + at), value, __ATOMIC_SEQ_CST);
}

/* A stop that is not the one we wait for: of all signals only SIGSTOP can come; it is kept, and the thread
 * goes on. */
static long keep_going(struct zd_visit *v, int status)
{
	if (!WIFSTOPPED(status))
		return -ESRCH;
	if (!(status >> 16)) {
		if (WSTOPSIG(status) != SIGSTOP || v->nkept == KEPT)
			return -EFAULT;
		v->kept[v->nkept++] = WSTOPSIG(status);
	}
	return zd_ptrace(PTRACE_CONT, v->tid, 0, 0);
}

static long parked(struct zd_visit *v)
{
	uint32_t *state = (uint32_t *)((char *)v->view + v->state_at);
	long long waited = 0;

	while (!__atomic_load_n(state, __ATOMIC_ACQUIRE)) {
		int status;
		long r;

		if (zd_futex_wait(state, 0, SLICE_US) != -ETIMEDOUT)
			continue;
		waited += SLICE_US;
		if (waited > v->timeout)
			return -ETIMEDOUT;
		r = waitpid(v->tid, &status, __WALL | WNOHANG);
		if (r > 0)
			r = keep_going(v, status);
		if (r < 0)
			return r;
	}
	return 0;
}

static long stop(struct zd_visit *v)
{
	long r = zd_ptrace(PTRACE_INTERRUPT, v->tid, 0, 0);

	while (!r) {
		int status;

		r = zd_wait(v->tid, __WALL, v->timeout, &status);
		if (r < 0)
			return r;
		if (WIFSTOPPED(status) && IS_EVENT(status))
			return 0;
		r = keep_going(v, status);
	}
	return r;
}

/*
 * Send a stopped thread into the arena by the graft's way for others, wait until its program parks, and bring
 * it home, stopped again. Wherever this process dies in here, the thread finds home by itself: the order is
 * what counts, see blobs/arch. -EFAULT: a fault in code of ours; the thread is home all the same.
 */
long zd_visit(struct zd_visit *v)
{
	uint64_t all = ~0ull, nothing = 0, mask = v->mask, entry = v->entry;
	long r = put(v->mem, v->home, v->home_size, v->home_at), back;

	v->nkept = 0;
	if (r)
		return r;
	memcpy((char *)v->view + v->prog_at, v->prog, v->prog_size);
	r = zd_general_set(v->tid, v->there, v->regs_size);
	if (r)
		return r;
	r = zd_ptrace_buf(SETSIGMASK, v->tid, sizeof(all), &all);
	if (!r) {
		store(v, v->inside_at, 1);
		r = put(v->mem, &entry, sizeof(entry), v->entry_at);
		r = r ? r : zd_ptrace(PTRACE_CONT, v->tid, 0, 0);
		if (!r) {
			r = parked(v);
			back = stop(v);
			if (back)
				return back;
		}
	}
	back = zd_general_set(v->tid, v->leave, v->regs_size);
	store(v, v->inside_at, 0);
	back = back ? back : put(v->mem, &nothing, sizeof(nothing), v->entry_at);
	back = back ? back : zd_ptrace_buf(SETSIGMASK, v->tid, sizeof(mask), &mask);
	back = back ? back : zd_general_set(v->tid, v->regs, v->regs_size);
	return r ? r : back;
}
