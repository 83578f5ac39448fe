/*
 * title: a mount from outside, and a device's node, by keys; copies of every propagation
 * flavours: ns userns
 * flags: suid
 * dump: --external mnt[/scratch/ext]:VOLUME --external mnt[/scratch/zero]:NODE
 * needs: mnt_id
 */
#include "mnt_ext.h"
