/*
 * title: The cgroups of cgroup00, by hierarchies that somebody else has mounted.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups --cgroup-yard ../yard
 */
#include "cgroup00.c"
