"""The kinds of file objects: by what procfs shows of a descriptor, and by the number in files.img.

Each is a module of engine/files with both halves (docs/adding-a-kind.md). It is loaded when a tree has such a file.
"""

from __future__ import annotations

import os
import stat
import sys

from engine.errors import Unsupported
from engine.files.fd import DELETED, Descriptor, may_be_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

REG, PIPE, INETSK, UNIXSK, NS, TUNF, MEMFD, SECRETMEM, IO_URING = 1, 2, 4, 5, 14, 15, 18, 1002, 1003  # fd_types
LINKED, GHOST, PROCFS = range(3)  # remap_type: how a restore comes by a file whose name does not lead to it
# file_entry.type -> module
_BY_TYPE = {
    REG: "regular",
    PIPE: "pipe",
    INETSK: "inet",
    UNIXSK: "unix",
    6: "eventfd",
    7: "epoll",
    8: "inotify",
    3: "fifo",
    9: "signalfd",
    NS: "nsfile",
    TUNF: "tun",
    12: "fanotify",
    17: "timerfd",
    MEMFD: "memfd",
    19: "bpf_map",
    20: "pidfd",
    1000: "mqueue",
    1001: "userfaultfd",
    SECRETMEM: "secretmem",
    IO_URING: "io_uring",
}
# what stands behind "anon_inode:" in the link -> module
_ANONYMOUS = {
    "[eventfd]": "eventfd",
    "[eventpoll]": "epoll",
    "[fanotify]": "fanotify",
    "[signalfd]": "signalfd",
    "[pidfd]": "pidfd",
    "bpf-map": "bpf_map",
    "[userfaultfd]": "userfaultfd",
    "[io_uring]": "io_uring",
    "[timerfd]": "timerfd",
    "inotify": "inotify",
}
SECRET = "/secretmem (deleted)"
RING = "anon_inode:[io_uring]"
_TUN = (10, 200)  # /dev/net/tun
_MQUEUE_SIZE = 80  # bytes, of every POSIX message queue
# what a link begins with -> module
_PREFIXES = {
    "pipe:[": "pipe",
    **{f"{kind}:[": "nsfile" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")},
}


def kind_of(d: Descriptor) -> ModuleType:
    """The module that can dump a descriptor; Unsupported says what it is when none can."""
    name = _name(d)
    if name is None:
        raise Unsupported([f"{d}: this kind of file is not supported yet; close it before the dump"])
    return module(name)


def _name(d: Descriptor) -> str | None:
    link, mode = d.link, d.mode
    if link == SECRET and module("secretmem").is_one(d.path):
        return "secretmem"
    if link[0] == "/" and stat.S_ISREG(mode) and d.size != _MQUEUE_SIZE and not link.endswith(DELETED):
        return "regular"
    if link.startswith("anon_inode:"):
        return _ANONYMOUS.get(link.removeprefix("anon_inode:"))
    if may_be_memfd(link) and module("memfd").find(link, d.stat) is not None:
        return "memfd"
    prefix, bracket, _ = link.partition("[")
    if bracket and prefix + bracket in _PREFIXES:
        return _PREFIXES[prefix + bracket]
    if stat.S_ISSOCK(mode) and link.startswith("socket:["):
        from engine.files import sockets  # most trees have none

        return sockets.module_of(d)
    if d.flags & os.O_PATH and link.startswith("/"):  # of whatever kind it is, nothing but the path is open
        return "regular"
    if stat.S_ISFIFO(mode):
        return "fifo"
    if stat.S_ISCHR(mode) and (os.major(d.stat.st_rdev), os.minor(d.stat.st_rdev)) == _TUN:
        return "tun"
    if stat.S_ISREG(mode) and d.size == _MQUEUE_SIZE and module("mqueue").is_one(d):
        return "mqueue"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "regular"
    return None


def by_type(number: int) -> ModuleType | None:
    """The module that restores file_entry.type `number`."""
    name = _BY_TYPE.get(number)
    return None if name is None else module(name)


def module(name: str) -> ModuleType:
    """A kind by the name of its module."""
    name = f"engine.files.{name}"
    if name not in sys.modules:
        __import__(name)  # importlib would be four modules more
    return sys.modules[name]
