/*
 * The executor: walks an array of operations in the arena (engine/plan/abi.py), one program a task.
 * It restores tasks and, mapped into a frozen one, asks it questions. No libc, no TLS, no writable data.
 */
#include "abi.h"
#include "arch.h"

#define FUTEX_WAIT	 0
#define FUTEX_WAKE	 1
#define FUTEX_OWNER_DIED 0x40000000u
#define ALL		 0x7fffffff

#define MADV_POPULATE_WRITE 23
#define MADV_COLLAPSE	    25

#define ENTER_FLAGS 3 /* IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP */

#define AGAIN_NS 100000000ul /* how often somebody who waits for another task looks for the coordinator */

static long futex_wait(u32 *word, u32 seen, u64 ns)
{
	u64 limit[2] = {0, ns};

	return arch_syscall(ARCH_NR_futex, (u64)word, FUTEX_WAIT, seen, ns ? (u64)limit : 0, 0, 0);
}

static void futex_wake(u32 *word)
{
	arch_syscall(ARCH_NR_futex, (u64)word, FUTEX_WAKE, ALL, 0, 0, 0);
}

static void tell(struct prog *p, u32 state)
{
	__atomic_store_n(&p->state, state, __ATOMIC_RELEASE);
	futex_wake(&p->state);
}

/* Nothing more to do but to be taken over by the coordinator, or to notice that there is none any more. */
static void __attribute__((noreturn)) park(struct prog *p, u32 *keeper)
{
	for (;;) {
		u32 seen = __atomic_load_n(keeper, __ATOMIC_ACQUIRE);

		if (seen & FUTEX_OWNER_DIED)
			break;
		/*
		 * The kernel wakes one, who may be killed before it wakes others. A parasite's host is
		 * not killed, and a wait with a limit would overwrite what is left of its own sleep.
		 */
		futex_wait(keeper, seen, p->orphan ? 0 : AGAIN_NS);
	}
	futex_wake(keeper); /* the kernel wakes one waiter only */
	if (p->orphan)
		arch_jump(p->orphan);
	for (;;)
		arch_syscall(ARCH_NR_exit_group, 128 + 9, 0, 0, 0, 0, 0);
}

static long wait_for(struct prog *p, u32 *word, u32 least, u32 *keeper)
{
	for (;;) {
		u32 seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if (seen >= least)
			return seen;
		if (__atomic_load_n(keeper, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED)
			return -125; /* ECANCELED */
		if (p->orphan)	     /* of its host's own sleep nothing must be overwritten, see above */
			arch_syscall(ARCH_NR_sched_yield, 0, 0, 0, 0, 0, 0);
		else
			futex_wait(word, seen, AGAIN_NS);
	}
}

static long wait_gone(u32 *word, u32 *keeper)
{
	for (;;) {
		u32 seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if (!seen)
			return 0;
		if (__atomic_load_n(keeper, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED)
			return -125; /* ECANCELED */
		futex_wait(word, seen, AGAIN_NS);
	}
}

struct part { /* struct iovec */
	u64 at, size;
};

/* The next piece of a part, after the kernel has been told to make room for it: a huge page, or many at a
 * time. */
static u64 make_room(u64 at, u64 size, int huge)
{
	u64 most = huge ? LOAD_HUGE - (at & (LOAD_HUGE - 1)) : LOAD_PIECE;

	size = size < most ? size : most;
	if (huge) {
		/* of nothing a huge page cannot be made; without one, pages come as they are read */
		arch_syscall(ARCH_NR_madvise, at, 4096, MADV_POPULATE_WRITE, 0, 0, 0);
		arch_syscall(ARCH_NR_madvise, at & ~(LOAD_HUGE - 1ul), LOAD_HUGE, MADV_COLLAPSE, 0, 0, 0);
	} else if (size >= LOAD_SMALL) {
		arch_syscall(ARCH_NR_madvise, at, size, MADV_POPULATE_WRITE, 0, 0, 0);
	}
	return size;
}

/* Small parts that lie together in the file are read in one call, others piece by piece. */
static long load(int fd, struct part *v, u64 *offset, u64 count, u32 *keeper)
{
	while (count) {
		u64 n = 1, size = v->size, from = *offset & ~1ul;
		struct part piece = *v;
		long r;

		if (__atomic_load_n(keeper, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED)
			return -125; /* ECANCELED */
		if (size >= LOAD_SMALL || *offset & 1)
			piece.size = size = make_room(v->at, size, *offset & 1);
		else
			while (n < count && n < LOAD_IOV_MAX && v[n].size < LOAD_SMALL &&
			       offset[n] == from + size)
				size += v[n++].size;
		r = arch_syscall(ARCH_NR_preadv, fd, (u64)(n == 1 ? &piece : v), n, from, 0, 0);
		if (r != (long)size)
			return r < 0 ? r : -61; /* ENODATA: the image ends there */
		if (n == 1 && size < v->size) {
			v->at += size;
			v->size -= size;
			*offset += size;
			continue;
		}
		v += n;
		offset += n;
		count -= n;
	}
	return 0;
}

/* Descriptors of another task, to consecutive numbers, of which the first is the lowest that is free. */
static long take(int pidfd, const u32 *source, u32 first, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		long r = arch_syscall(ARCH_NR_pidfd_getfd, pidfd, source[i] & ~TAKE_KEPT, 0, 0, 0, 0);

		if (r >= 0 && r != first + i)
			return -9; /* EBADF */
		if (r >= 0 && source[i] & TAKE_KEPT)
			r = arch_syscall(ARCH_NR_fcntl, r, 2 /* F_SETFD */, 0, 0, 0, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Have an io_uring do `n` no-ops, `times` times. The completions are read each time (LAPS_READ), or stay,
 * with those that are `unread` already. `offsets` are those of the tail and of the completions' head.
 */
static long laps(int ring, u32 n, u64 times, u64 base, u64 offsets, u64 unread, const u32 *keeper)
{
	u32 *tail = (u32 *)(base + (u32)offsets), *head = (u32 *)(base + (offsets >> 32));

	for (u64 i = 0; i < times; i++) {
		u64 least = unread == LAPS_READ ? n : unread + (i + 1) * n;
		long r;

		if (__atomic_load_n(keeper, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED)
			return -125; /* ECANCELED */
		__atomic_add_fetch(tail, n, __ATOMIC_RELEASE);
		r = arch_syscall(ARCH_NR_io_uring_enter, ring, n, least, ENTER_FLAGS, 0, 0);
		if (r != (long)n)
			return r < 0 ? r : -11; /* EAGAIN */
		if (unread == LAPS_READ)
			__atomic_add_fetch(head, n, __ATOMIC_RELEASE);
	}
	return 0;
}

static long copy(volatile char *to, const char *from, u64 size)
{
	for (u64 i = 0; i < size; i++)
		to[i] = from[i];
	return 0;
}

static u32 count(u32 *word)
{
	u32 now = __atomic_add_fetch(word, 1, __ATOMIC_ACQ_REL);

	futex_wake(word);
	return now;
}

/* A thread with a number that the coordinator has made the next one; who gets another ends at once. */
static long steer(struct prog *p, const u64 *a, u32 *keeper)
{
	struct steer *s = (struct steer *)a[4];

	s->wanted = a[3];
	for (u32 i = 0; i < STEER_TRIES; i++) {
		u32 asked = count(&s->asked);
		long r, tid;

		count((u32 *)a[5]);
		for (u32 n = 0; n < STEER_SPINS && __atomic_load_n(&s->granted, __ATOMIC_ACQUIRE) < asked;
		     n++)
			arch_syscall(ARCH_NR_sched_yield, 0, 0, 0, 0, 0, 0);
		r = wait_for(p, &s->granted, asked, keeper);
		if (r < 0)
			return r;
		tid = arch_spawn(a[0], a[1], a[2]);
		count(&s->tried);
		if (tid < 0 || tid == (long)a[3])
			return tid;
		r = wait_gone(&s->alive, keeper); /* with it goes the use of the stack */
		if (r < 0)
			return r;
		futex_wait(&s->granted, asked, STEER_AGAIN_NS);
	}
	return -17; /* EEXIST */
}

static void be(u64 tid)
{
	while (arch_syscall(ARCH_NR_gettid, 0, 0, 0, 0, 0, 0) != (long)tid)
		arch_syscall(ARCH_NR_exit, 0, 0, 0, 0, 0, 0);
}

static int is_expected(const struct op *o, long r)
{
	if (o->expect == EXPECT_ANY)
		return 1;
	if (o->expect == EXPECT_EQUAL)
		return (u64)r == o->want;
	return (u64)r < (u64)-4095;
}

void __attribute__((noreturn, used)) zd_run(struct prog *p)
{
	struct op *ops = (struct op *)p->ops;
	u32 *keeper = (u32 *)(ops[p->count - 1].arg[0]); /* a program's last operation is PARK */

	for (u32 pc = p->pc;; pc++) {
		struct op *o = ops + pc;
		u64 a[6];
		long r = 0;

		p->pc = pc;
		for (int i = 0; i < 6; i++)
			a[i] = o->indirect & (1u << i) ? *(u64 *)o->arg[i] : o->arg[i];
		switch (o->code) {
		case OP_SYSCALL: r = arch_syscall(o->nr, a[0], a[1], a[2], a[3], a[4], a[5]); break;
		case OP_SYSCALL32: r = arch_syscall32(o->nr, a[0], a[1], a[2], a[3], a[4]); break;
		case OP_SPAWN: r = arch_spawn(a[0], a[1], a[2]); break;
		case OP_ADD:
			r = __atomic_add_fetch((u32 *)a[0], (u32)a[1], __ATOMIC_ACQ_REL);
			futex_wake((u32 *)a[0]);
			break;
		case OP_WAIT: r = wait_for(p, (u32 *)a[0], (u32)a[1], keeper); break;
		case OP_GONE: r = wait_gone((u32 *)a[0], keeper); break;
		case OP_LOAD: r = load(a[0], (struct part *)a[1], (u64 *)a[2], a[3], keeper); break;
		case OP_TAKE: r = take(a[0], (const u32 *)a[1], a[2], a[3]); break;
		case OP_LAPS: r = laps(a[0], a[1], a[2], a[3], a[4], a[5], keeper); break;
		case OP_COPY: r = copy((char *)(a[0] + a[1]), (const char *)a[2], a[3]); break;
		case OP_STEER: r = steer(p, a, keeper); break;
		case OP_BE: be(a[0]); break;
		case OP_PARK: tell(p, STATE_PARKED); park(p, keeper);
		}
		o->result = r;
		if (!is_expected(o, r)) {
			p->error = r;
			tell(p, STATE_FAILED);
			park(p, keeper);
		}
	}
}

ARCH_BLOB_ASM
