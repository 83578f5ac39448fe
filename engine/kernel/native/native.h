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
int zd_prctl(int option, unsigned long value);
int zd_subreaper(int on);
int zd_task_scan(int pid, int *tids, unsigned max_tids, int *kids, unsigned max_kids, unsigned *nkids);
int zd_kcmp_ids(const int *pids, unsigned count, int type, unsigned *ids);
int zd_kcmp(int pid1, int pid2, int type, unsigned long idx1, unsigned long idx2);
int zd_personality(unsigned long persona);
int zd_sched_getattr(int pid, void *attr, unsigned size);
int zd_ioprio_get(int tid);
void zd_end(int status);
int zd_bpf(int command, void *attr, unsigned size);

/* uring.c */
int zd_io_uring_setup(unsigned entries, void *params);
int zd_io_uring_enter(int fd);
int zd_io_uring_register(int fd, unsigned code, unsigned long what, unsigned count);
long zd_io_uring_peek(unsigned *head, unsigned by, int fdinfo, char *text, unsigned long size);

/* socket.c */
int zd_socket(int family, int type, int protocol);
int zd_getsockopt(int fd, int level, int name, void *value, unsigned size);
void zd_getsockopts(int fd, const int *wanted, unsigned count, char *out, unsigned stride);
int zd_setsockopt(int fd, int level, int name, const void *value, unsigned size);
int zd_get_filter(int fd, unsigned long long *filter, unsigned room);
int zd_attach_filter(int fd, unsigned long long *filter, unsigned count);
int zd_sockname(int fd, int peer, void *address, unsigned size);
int zd_bind(int fd, const void *address, unsigned size);
int zd_connect(int fd, const void *address, unsigned size);
int zd_shutdown(int fd, int how);

/* namespaces.c */
int zd_setns(int fd, int kind);
int zd_unshare(int flags);
int zd_openat2(int dir, const char *name, unsigned long long flags, unsigned mode,
	       unsigned long long resolve);
int zd_fork(const int *pids, unsigned count, unsigned long long flags);
int zd_set_names(const char *host, unsigned host_size, const char *domain, unsigned domain_size);

/* mount.c */
int zd_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int zd_umount(const char *target, int flags);
int zd_pivot_root(const char *new_root, const char *put_old);
int zd_open_tree(int dir, const char *name, unsigned flags);
int zd_move_mount(int from, int to, unsigned flags);
int zd_fsopen(const char *type);
int zd_fspick(int mount);
int zd_fsconfig(int fs, unsigned command, const char *key, const char *value);
int zd_fsmount(int fs, unsigned attributes);
int zd_mount_setattr(int mount, unsigned flags, unsigned long long set, unsigned long long clear,
		     unsigned long long propagation);

/* ptrace.c */
long zd_ptrace(int request, int pid, unsigned long addr, unsigned long data);
unsigned zd_moving(int *pids, unsigned count);
long zd_seize(int pid, unsigned long options, long long timeout);
int zd_ptrace_options(const int *pids, unsigned count, unsigned long options);
long zd_ptrace_buf(int request, int pid, unsigned long addr, void *data);
long zd_general_get(int pid, void *buf, unsigned long size);
long zd_general_set(int pid, const void *buf, unsigned long size);
long zd_regset_get(int pid, unsigned type, void *buf, unsigned long size);
long zd_regset_set(int pid, unsigned type, const void *buf, unsigned long size);
int zd_step_out(int pid, unsigned long budget, unsigned ip_at, unsigned long start, unsigned long end,
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
	ZD_ZEROES = 128,   /* of a range: that a page is there matters, if only the zero page */
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
int zd_fields(const void *data, unsigned long size, void *out);
unsigned long zd_entries(const void *data, unsigned long size, void *out);
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

/* sysvipc.c */
long zd_shmget(int key, unsigned long size, int flags);
long zd_shmat(int id, int flags);
long zd_shmdt(unsigned long address);
long zd_shmctl(int id, int command);
long zd_semget(int key, int count, int flags);
long zd_semop(int id, unsigned number, int op);
long zd_sem_values(int id, unsigned short *values, int set);
long zd_msgget(int key, int flags);
long zd_msg_copy(int id, void *message, unsigned long most, long index);
long zd_msg_qbytes(int id);
long zd_msgsnd(int id, const void *message, unsigned long size);
long zd_ipc_set(char kind, int id, unsigned uid, unsigned gid, unsigned mode, unsigned long qbytes);

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

/* descriptors.c, files.c, pipes.c */
struct zd_owner {
	int signum;
	int type;
	int pid;
	unsigned uid;
	unsigned euid;
};
struct zd_fd { /* the row's length; of fstat(2), times in ns; of fdinfo; then lengths of what follows, and its
		* owner
		*/
	unsigned long row, mode, ino, dev, nlink, uid, gid, size;
	long atime, mtime, ctime;
	unsigned long blksize, blocks, rdev;
	long pos;
	unsigned fd, flags, mnt_id, plain, link, info; /* plain: fdinfo has nothing but what all files have */
	struct zd_owner owner;
};
#define ZD_NAMED 1
#define ZD_GONE	 2
#define ZD_PIPE	 3
struct zd_fds { /* some that a task may have open, and what was found */
	int pid, pidfd;
	const int *numbers;
	unsigned char *told; /* of each number, ZD_* or 0 */
	unsigned count, names;
	char *out; /* rows, struct zd_fd, 8-aligned, each with its link and its fdinfo behind */
	unsigned long size, used;
	int error; /* errno */
	unsigned done;
};
struct zd_look {
	struct zd_fds *parts;
	unsigned count, next, started;
	int tid;
	unsigned long thread;
};
int zd_look_start(struct zd_look *l);
void zd_look_part(struct zd_look *l, unsigned i);
void zd_look_end(struct zd_look *l);
void zd_look_drop(struct zd_fds *p);

#define ZD_PACKET 0x80000000
struct zd_pipes { /* ends of pipes to work with: of one slot, of two, and of as many as are needed */
	int one[2], two[2], tee[2], all[2];
};
int zd_build_id(int dirfd, const char *name, unsigned *words, unsigned room);
struct zd_named { /* a file by its name, which has to lead to this inode; its build-id, if words >= 0 */
	const char *name;
	unsigned long dev, ino;
	int words;
	unsigned build_id[16];
};
void zd_build_ids(struct zd_named *files, unsigned count);
struct zd_open { /* a file to have as `number`; its mode (0: any; the type alone, or exact), size (-1: any) */
	const char *name;
	long pos, size;
	unsigned flags, mode, exact;
	int number, done;
};
void zd_open_many(struct zd_open *files, unsigned count);
struct zd_new_pipe { /* with contents; of its ends (to read, to write) numbers, -1 for none, and flags */
	const char *data;
	unsigned long bytes;
	int size, number[2], flags[2], done;
};
void zd_pipe_many(struct zd_new_pipe *pipes, unsigned count);
int zd_memfd_secret(unsigned flags);
int zd_mincore(void *at, unsigned long size, unsigned char *pages);
int zd_waiting(int fd);
long zd_tee(int from, int to);
int zd_pipe_copy(struct zd_pipes *p, int fd, unsigned *parts, int room);
struct zd_waiting { /* in the pipe of a task's descriptor: bytes, or -1, and the pipe's size */
	int fd, bytes, size;
	const char *head; /* of its entry, with the length */
	unsigned long head_size;
};
void zd_pipes_look(int pidfd, struct zd_waiting *pipes, unsigned count);
int zd_pipes_write(struct zd_pipes *p, int pidfd, struct zd_waiting *pipes, unsigned count, int image);

/* mqueue.c */
struct zd_message {
	unsigned priority;
	unsigned size;
	char text[]; /* and up to a multiple of 8 bytes */
};
long zd_mq_copy(int fd, char *buf, unsigned long size, unsigned long msgsize);
int zd_mq_open(const char *name, int flags, unsigned mode, long most, long msgsize);
int zd_mq_unlink(const char *name);
int zd_mq_attr(int fd, long *most, long *msgsize, long *count);
int zd_mq_send(int fd, const char *text, unsigned long size, unsigned priority);
long zd_fs_type(const char *path);

/* events.c: times as value and interval, in seconds and nanoseconds each */
int zd_timerfd_create(int clock, int flags);
int zd_timerfd_settime(int fd, int flags, const long long *v);
int zd_timerfd_gettime(int fd, long long *v);
int zd_timerfd_ticks(int fd, unsigned long long ticks);
int zd_signalfd(unsigned long long mask, int flags);
int zd_epoll_create(int flags);
int zd_epoll_params(int fd, int set, void *params);
int zd_kcmp_epoll(int pid1, int fd, int pid2, unsigned efd, unsigned tfd, unsigned nth);
int zd_inotify_init(int flags);
int zd_inotify_watch(int fd, const char *path, unsigned mask, int wd);
int zd_inotify_overflow(int fd);
int zd_fanotify_init(unsigned flags, unsigned event_flags);
int zd_fanotify_mark(int fd, unsigned flags, unsigned long long mask, const char *path);
int zd_name_to_handle(int fd, void *handle, unsigned *size, int *type); /* handle: 128 bytes */
int zd_open_by_handle(int mount, int type, const void *handle, unsigned size, int flags);
