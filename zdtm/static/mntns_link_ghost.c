/*
 * title: a file that is open by two names, mounts and namespaces, all names deleted
 * flavours: ns userns
 * flags: suid
 * needs: mnt_id
 */
#define LINKS 0
#include "mntns_link.h"
