/*
 * title: a file that is open by two names, mounts and namespaces, of which neither is left, but a third name
 * flavours: ns userns
 * flags: suid
 * opts: --link-remap
 * needs: mnt_id
 */
#define LINKS 1
#include "mntns_link.h"
