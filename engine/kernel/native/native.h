/* Every native function the engine calls; this file is at once the cffi cdef and the C header. */
/* All return a non-negative result or -errno. */
int zd_pidfd_open(int pid, unsigned flags);
