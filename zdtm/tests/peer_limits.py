"""What the peer, CRIU 4.2, cannot do: case -> why, as its logs and images show.

A test that fails for one of these is as expected; one that passes all the same says that the entry is stale.
"""

from __future__ import annotations

# Not crossed on the host: there they would run as root, and what they prove is about a user that is not.
NOT_AS_ROOT = {
    "dumpable01": "root may read the files in /proc that are not its own",
    "seccomp_user": "root may add filters without no_new_privs",
}

# It loses something both when it dumps and when it restores.
BOTH = {
    "affinity00": "its images have no CPU affinity",
    "compat_sleep": "lets relative waits return EINTR",
    "coredump_filter00": "its images have no coredump_filter",
    "exit_signal": "its images have no exit signal: every child has SIGCHLD",
    "futex_timed": "lets a relative wait return EINTR",
    "ioprio00": "its images have no I/O priority",
    "limits_low": "its parasite has no memory, its restorer no signals to queue under the task's own limits",
    "maps_sealed": "its images have no seals of mappings",
    "mlock_onfault": "its images do not say that a lock is one on fault",
    "mlockall": "its images do not say that what is mapped from now on is locked",
    "mdwe": "its images do not say what PR_SET_MDWE refuses",
    "memory_merge": "its images do not say that all of a process may be merged",
    "memfd_odd": "calls it like shared anonymous memory; 'Can't restore file position' of what is open with O_PATH",
    "pipe_packets": "'The packetized mode for pipes is not supported yet'; restored, packets are merged",
    "poll": "lets poll return EINTR",
    "sched_deadline00": "its images have no runtime, deadline and period",
    "sched_slice00": "its images have no slice",
    "siginfo_kinds": "injects into and restores tasks with pending faults, and is stopped by these",
    "sigtrap": "'Can't dump the thread with a pending SIGTRAP'; its restorer consumes one that is in the images",
    "sleep_futex": "lets a relative wait return EINTR",
    "sleep_nanosleep": "lets a relative sleep return EINTR",
    "sleep_poll": "lets poll return EINTR",
    "stopped01": "drops a pending SIGSTOP; its restorer stops when it sends one to itself",
    "stopped02": "drops a pending SIGSTOP; its restorer stops when it sends one to itself",
    "stopped12": "drops a pending SIGSTOP; its restorer stops when it sends one to itself",
    "stopped_seen": "its images do not say whether the parent has waited for a stop: it is news again",
    "thp_advised": "its images do not say that what is advised is an exception",
    "thp_collapsed": "its images do not say which pages were huge",
    "threads_state": "its images have no CPU affinity",
    "timerslack00": "its images have no timer slack",
    "tree_shared": "'Can't make FS id': tasks cannot share it",
    "tree_shared_fs": "'Can't make FS id': tasks cannot share it",
    "tree_shared_sibling": "'Can't make FILES id': only parent and child share them, not siblings",
    "tree_shared_vm": "'Can't make VM id': tasks cannot share it",
}

DUMP = {
    "futex_robust_file": "kills tasks that have their robust list: the kernel marks the word in the file",
    "memfd02-hugetlb": "stores huge pages that nobody has touched",
    "pthread02": "'Zombies with threads are not supported'",
    "regs_alignment": "its parasite runs with the task's flags and dies of SIGBUS",
    "sigwait_whole": "lets sigwaitinfo return EINTR",
    "stopped_tty": "'unsupported stop signal 21': only SIGSTOP stops",
    "thread_leader_gone": "'Zombies with threads are not supported'",
    "threads_born": "fails for threads that end while it freezes",
    "timer_chain": "loses the signal of a timer that expires while it freezes",
}
# Of another user's task on this machine: reading limits takes CAP_SYS_RESOURCE, which not every root has.
DUMP_ON_HOST = {
    "dumpable02": "'Can't get rlimit 0: Operation not permitted'",
    "mlock_setuid": "'Can't get rlimit 0: Operation not permitted'",
    "pid00": "'Can't get rlimit 0: Operation not permitted'",
    "thread_different_uid_gid": "'Can't get rlimit 0: Operation not permitted'",
}

RESTORE = {
    "cow_family": "compares a page with the parent alone, which has changed it since: siblings share it no more",
    "cow_orphans": "a helper starts the tasks, and leaves them to whoever reaps outside of the tree",
    "personality00": "restores no personality",
    "cwd02": "a directory's descriptor comes back without O_DIRECTORY in its flags",
    "file_cloexec": "a directory's descriptor comes back without O_DIRECTORY in its flags",
    "memfd_exe": "'No entry for reg-file-ID' of a program that is in a memfd",
    "memfd_sealed_maps": "'Cannot apply seals on memfd: Device or resource busy'",
    "pgrp_orphaned": "a helper starts the task, and leaves it to whoever reaps outside of the tree",
    "pipe00": "O_LARGEFILE wanders from one end of a pipe to another",
    "proc_self": "opens a thread's file in /proc before the thread is there",
    "regs_selectors": "leaves ds and es empty",
    "seccomp_tsync_ahead": "gives every thread filters of its own, so that they are not each other's ancestors",
    "session_subreaper": "'Can't find a session leader'",
    "shmem_name": "makes shared anonymous memory anew as a memfd",
    "signals_rt": "queues signals within the limit, which other tasks of root use up, and before the task has its user",
    "thp_stays": "fills huge pages page by page before it advises: none is huge",
    "timer_overrun": "a timer's pending signal comes back as an ordinary one, which counts no overruns",
    "timer_pending_tied": "a timer's pending signal comes back as an ordinary one, which outlives the timer",
    "zombie03": "takes 0x80 of an exit code away, and ends in abort() for a real-time signal",
}

IN_USERNS = {
    "helper_zombie_child": "'Can't find a session leader'",
    "pipe_closed": "pipes are root's",
    "pipe_full": "pipes are root's",
    "pipe_shared": "pipes are root's",
    "proc_relatives": "zombies are root's",
    "sched00": "a thread has its leader's nice value first, and may not lower it",
    "timer_chain": "writes an arbitrary number for the thread that a timer notifies",
    "timer_notify": "writes an arbitrary number for the thread that a timer notifies",
    "timer_pending": "writes an arbitrary number for the thread that a timer notifies",
    "tree_kids_threads": "zombies are root's",
    "zombie00": "zombies are root's",
    "zombie02": "zombies are root's",
    "zombie_leader": "zombies are root's",
}

# Which of them it is lucky with now and then, or that are over before a busy machine comes to dump them.
SOMETIMES = frozenset({"compat_sleep", "signals_rt", "threads_born", "timer_chain"})

TO_PEER = {**BOTH, **RESTORE}
FROM_PEER = {**BOTH, **DUMP, **DUMP_ON_HOST}
USERNS = {**BOTH, **DUMP, **RESTORE, **IN_USERNS}
