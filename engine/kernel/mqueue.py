"""POSIX message queues (mq_overview(7)): attributes, all messages, making one anew."""

from __future__ import annotations

import mmap
import os
import struct

from engine.errors import KernelError
from engine.kernel import process
from engine.kernel._native import ffi, lib
from engine.kernel.call import check

MQUEUE_MAGIC = 0x19800202
_HEAD = struct.Struct("<II")  # struct zd_message
_SPARE = 64  # messages for which there is room besides those that are there
_MAP_NORESERVE = 0x4000


def is_queue(path: str) -> bool:
    """Is a file on the file system of message queues?"""
    return check(lib.zd_fs_type(path.encode()), f"statfs({path})") == MQUEUE_MAGIC


def attributes(fd: int) -> tuple[int, int, int]:
    """(messages at most, bytes of a message at most, messages that are there)."""
    most, size, count = ffi.new("long *"), ffi.new("long *"), ffi.new("long *")
    check(lib.zd_mq_attr(fd, most, size, count), "mq_getattr")
    return int(most[0]), int(size[0]), int(count[0])


def messages(fd: int) -> list[tuple[int, bytes]]:
    """(priority, text) of all messages, those to be received first first. They stay in the queue. KernelError.

    The kernel lets nobody look at a message but by receiving it. So a process of its own receives and sends all of
    them: whoever kills the engine does not kill that one, which is done in microseconds. Nobody else must use the
    queue meanwhile. `fd` may read and write.
    """
    _, size, count = attributes(fd)
    if not count:
        return []
    room = (count + _SPARE) * (size + 16)
    with mmap.mmap(-1, room + 8, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_NORESERVE) as memory:
        child = os.fork()
        if not child:
            _copy(fd, memory, room, size)
        if status := process.wait_exit(child):
            raise KernelError("receiving and sending the messages of a queue", 0, f"a process ended with {status:#x}")
        used = check(struct.unpack_from("<q", memory, room)[0], "mq_timedreceive or mq_timedsend")
        return _messages(memory, used)


def _copy(fd: int, memory: mmap.mmap, room: int, size: int) -> None:
    """In the child, which ends."""
    try:
        os.setsid()  # of no group that somebody kills
        buffer = ffi.from_buffer(memory)
        struct.pack_into("<q", memory, room, lib.zd_mq_copy(fd, buffer, room, size))
        os._exit(0)
    finally:
        os._exit(1)


def _messages(memory: mmap.mmap, used: int) -> list[tuple[int, bytes]]:
    out = []
    at = 0
    while at < used:
        priority, size = _HEAD.unpack_from(memory, at)
        at += _HEAD.size
        out.append((priority, memory[at : at + size]))
        at += size + 7 & ~7
    return out


def open_queue(name: bytes, flags: int, mode: int = 0, most: int = 0, size: int = 0) -> int:
    """mq_open(3) of a name without its slash, close-on-exec; KernelError."""
    what = f"mq_open(/{os.fsdecode(name)}, {flags:#o}" + (f", {most} messages of {size} bytes)" if most else ")")
    return check(lib.zd_mq_open(name, flags, mode, most, size), what)


def send(fd: int, text: bytes, priority: int) -> None:
    """Put a message into a queue that has room for it."""
    check(lib.zd_mq_send(fd, text, len(text), priority), f"mq_send({len(text)} bytes, priority {priority})")


def unlink(name: bytes) -> None:
    """Remove a name."""
    check(lib.zd_mq_unlink(name), f"mq_unlink(/{os.fsdecode(name)})")
