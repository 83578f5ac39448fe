/*
 * title: a mount that shares with one outside, a node from there, copies of every propagation
 * flavours: ns userns
 * flags: suid
 * opts: --external mnt[]:s
 * needs: mnt_id
 */
#include "mnt_ext.h"
