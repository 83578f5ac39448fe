/*
 * title: idle io_urings of a 32-bit program
 * flavours: host
 * arch: x86_64
 * cflags: -m32 -D_FILE_OFFSET_BITS=64
 * needs: compat_cr
 */
#include "io_uring00.c"
