/* Every native function the engine calls; this file is at once the cffi cdef and the C header. */
/* All return a non-negative result or -errno, unless they say otherwise. Times are in microseconds. */

/* process.c */
int zd_pidfd_open(int pid, unsigned flags);
int zd_pidfd_send_signal(int pidfd, int sig);
int zd_spawn_seed(int seed_fd, int arena_fd, int pid, unsigned long long flags);
int zd_wait(int pid, int options, long long timeout, int *status);
int zd_block_signals(int block);
int zd_keeper_arm(void *arena, unsigned node, unsigned word);
int zd_keeper_disarm(void);
int zd_futex_wait(void *word, unsigned seen, long long timeout);
int zd_futex_wake(void *word);
int zd_securebits(void);
int zd_tgkill(int pid, int tid, int sig);
int zd_subreaper(int on);
int zd_task_scan(int pid, int *tids, unsigned max_tids, int *kids, unsigned max_kids, unsigned *nkids);
int zd_kcmp_ids(const int *pids, unsigned count, int type, unsigned *ids);
int zd_kcmp(int pid1, int pid2, int type, unsigned long idx1, unsigned long idx2);
int zd_personality(unsigned long persona);
int zd_sched_getattr(int pid, void *attr, unsigned size);
int zd_ioprio_get(int tid);

/* ptrace.c */
long zd_ptrace(int request, int pid, unsigned long addr, unsigned long data);
long zd_ptrace_buf(int request, int pid, unsigned long addr, void *data);
long zd_general_get(int pid, void *buf, unsigned long size);
long zd_general_set(int pid, const void *buf, unsigned long size);
long zd_regset_get(int pid, unsigned type, void *buf, unsigned long size);
long zd_regset_set(int pid, unsigned type, const void *buf, unsigned long size);
int zd_step_out(int pid, unsigned steps, unsigned ip_at, unsigned long start, unsigned long end,
		long long timeout, int *status);
int zd_xstate_offset(unsigned component, unsigned *offset, unsigned *size);
int zd_cpuid(unsigned leaf, unsigned subleaf, unsigned *registers);
int zd_landlock_abi(void);
int zd_bystander(unsigned uid, unsigned gid);
int zd_with_vdso32(unsigned long at);

/* memory.c, runs.c, mover.c */
long zd_read_memory(int pid, unsigned long addr, void *buf, unsigned long size);
long zd_write_memory(int pid, unsigned long addr, const void *buf, unsigned long size);
struct zd_range {
	unsigned long start;
	unsigned long end;
	unsigned flags;
	unsigned pad;
};
struct zd_run {
	unsigned long start;
	unsigned long pages;
	unsigned long flags;
};
struct zd_pages {
	long long scanned;
	long long written;
	long long zero;
	long long scan_time;
	long long write_time;
};
enum {
	ZD_WHOLE = 1,	   /* of a range: all of its pages, whatever they are */
	ZD_LAZY = 2,	   /* goes on to the runs */
	ZD_GUARDS = 4,	   /* of a range: only its guard pages are looked for */
	ZD_HUGE = 8,	   /* of a run: in huge pages */
	ZD_SPARSE = 16,	   /* pages that are all zeroes are left out */
	ZD_KEPT = 32,	   /* of a run: its contents are in a file */
	ZD_ELSEWHERE = 64, /* of a run: its contents are with its owner */
};
void zd_free_runs(struct zd_run *runs);
long zd_scan_pages(int pagemap, const struct zd_range *ranges, unsigned count, struct zd_run **runs,
		   struct zd_run **guards, unsigned long *nguards, struct zd_pages *stats);
long zd_dump_pages(int pid, int mem, int pagemap, int kept, int out, const struct zd_run *runs,
		   unsigned long count, struct zd_run **made, struct zd_pages *stats);
long zd_merge_runs(const struct zd_run *runs, unsigned long count, const struct zd_run *others,
		   unsigned long nothers, unsigned flag, struct zd_run *out);
long zd_own_runs(const struct zd_run *runs, unsigned long count, struct zd_run *own, struct zd_run *others);

/* pagemap.c */
struct zd_sum {
	unsigned long stored;
	unsigned long flags;
};
long zd_pagemap_encode(const struct zd_run *runs, unsigned long count, unsigned long *done, void *buf,
		       unsigned long size);
long zd_pagemap_decode(const void *data, unsigned long size, unsigned long *pos, struct zd_run *runs,
		       unsigned long max);
void zd_pagemap_sum(const struct zd_run *runs, unsigned long count, struct zd_sum *sum);
long zd_pagemap_find(const struct zd_run *runs, unsigned long count, unsigned long addr);
struct zd_loads {
	unsigned long share;
	unsigned long bytes;
	unsigned long bad;
	unsigned long first[8];
	unsigned shares;
	unsigned pad;
};
struct zd_part;
long zd_split_loads(const struct zd_part *parts, unsigned long count, void *vector,
		    unsigned long long *offsets, unsigned long max, struct zd_loads *loads);
long zd_plan_loads(const struct zd_run *runs, unsigned long count, struct zd_range *areas, unsigned nareas,
		   void *vector, unsigned long long *offsets, unsigned long max, struct zd_loads *loads);

/* same.c */
struct zd_frames;
struct zd_part {
	unsigned long start;
	unsigned long bytes;
	unsigned long offset;
	int fd;
	int pad;
};
struct zd_frames *zd_frames_new(void);
void zd_frames_free(struct zd_frames *f);
long zd_frames_split(struct zd_frames *f, int pagemap, unsigned owner, const struct zd_run *runs,
		     unsigned count, struct zd_run *out, unsigned max);
long zd_same_pages(const struct zd_part *a, unsigned na, const struct zd_part *b, unsigned nb,
		   struct zd_run *out, unsigned max);

/* shmem.c */
struct zd_object {
	int fd;
	int image;
	unsigned long size;
	unsigned long huge;
	unsigned long offset;
};
int zd_shmem_make(unsigned long size, unsigned long huge, int flags);
long zd_object_runs(int fd, unsigned long size, unsigned long huge, struct zd_run *runs, unsigned max);
long zd_object_copy(const struct zd_object *object, const struct zd_run *runs, unsigned count, int load);
/* track.c */
struct zd_cursor {
	unsigned range;
	unsigned pad;
	unsigned long at;
};
int zd_pidfd_getfd(int pidfd, int fd);
int zd_uffd_async(int uffd);
long zd_scan_changed(int pagemap, int uffd, int protect, const struct zd_range *ranges, unsigned count,
		     struct zd_run *runs, unsigned n, unsigned max, struct zd_cursor *cursor);

/* checksum.c */
int zd_crc32c(int fd, unsigned long limit, unsigned long period, int table, unsigned *crc);

/* visit.c */
struct zd_visit {
	int tid;
	int mem;
	void *view;
	const void *home;
	const void *prog;
	const void *there;
	const void *leave;
	const void *regs;
	unsigned long home_at;
	unsigned long entry_at;
	unsigned long entry;
	unsigned long long mask;
	long long timeout;
	unsigned home_size;
	unsigned prog_at;
	unsigned prog_size;
	unsigned regs_size;
	unsigned inside_at;
	unsigned state_at;
	int nkept;
	int kept[8];
};
long zd_visit(struct zd_visit *v);
