"""Where a file has data, by its file system: the ioctl FS_IOC_FIEMAP (linux/fiemap.h)."""

from __future__ import annotations

import errno
import fcntl
import struct

from engine.errors import KernelError

_FS_IOC_FIEMAP = 0xC020660B  # _IOWR('f', 11, struct fiemap)
_HEAD = struct.Struct("<QQIIII")  # start, length, flags, mapped extents, extent count, reserved
_EXTENT = struct.Struct("<QQQ16xI12x")  # logical, physical, length, flags
_SYNC = 1  # FIEMAP_FLAG_SYNC
_LAST = 1  # FIEMAP_EXTENT_LAST
_BATCH = 512  # extents


def extents(fd: int, size: int) -> list[tuple[int, int]] | None:
    """(begin, end) of a file's data within its size in bytes; None where the file system does not tell. KernelError."""
    out: list[tuple[int, int]] = []
    at = 0
    while at < size:
        room = bytearray(_HEAD.pack(at, size - at, _SYNC, 0, _BATCH, 0) + bytes(_BATCH * _EXTENT.size))
        try:
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, room)
        except OSError as e:
            if e.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
                return None
            raise KernelError(f"ioctl({fd}, FS_IOC_FIEMAP)", e.errno or 0) from e
        count = _HEAD.unpack_from(room)[3]
        for i in range(count):
            begin, _, length, flags = _EXTENT.unpack_from(room, _HEAD.size + i * _EXTENT.size)
            at = begin + length
            begin, end = max(begin, 0), min(at, size)
            if out and out[-1][1] == begin:
                out[-1] = (out[-1][0], end)
            elif begin < end:
                out.append((begin, end))
            if flags & _LAST:
                return out
        if not count:
            break
    return out
