"""Namespaces as the kernel shows them (namespaces(7)): entering them and leaving again, names inside of a root."""

from __future__ import annotations

import os

from engine.blocks import ExitStack, contextmanager
from engine.kernel._native import ffi, lib
from engine.kernel.call import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

# by their names in /proc/PID/ns: the flags of clone(2)
FLAGS = {
    "time": 0x00000080,
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
CLONE_FILES = 0x400
_USERNS, _OWNER_UID = 0xB701, 0xB704  # NS_GET_USERNS, NS_GET_OWNER_UID
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10  # linux/openat2.h


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): a descriptor of a namespace, or a pidfd with the flags of those to enter."""
    check(lib.zd_setns(fd, flags), f"setns({fd}, {flags:#x})")


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(lib.zd_unshare(flags), f"unshare({flags:#x})")


def set_names(host: bytes, domain: bytes) -> None:
    """sethostname(2) and setdomainname(2)."""
    check(lib.zd_set_names(host, len(host), domain, len(domain)), f"sethostname({host!r}), setdomainname({domain!r})")


def fork(pids: Sequence[int] = (), flags: int = 0) -> int:
    """fork(2); with pids in the innermost namespaces that new processes are in, and flags of clone(2).

    The engine has one other thread at most, for a while, which has no locks (native/descriptors.c).
    """
    return check(lib.zd_fork(ffi.new("int[]", list(pids)), len(pids), flags), f"clone3(set_tid {list(pids)})")


def open_in(root: int, name: str, flags: int, mode: int = 0) -> int:
    """Open a name below a directory that is taken for the root: neither `..` nor symbolic links lead out of it.

    openat2(2) with RESOLVE_IN_ROOT; OSError. The descriptor is close-on-exec.
    """
    raw = os.fsencode(name)
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    fd = int(lib.zd_openat2(root, raw, flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, resolve))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), name)
    return fd


class entered:
    """A context in some namespaces of a process, by their names; then in the engine's own again.

    Not "user" and "pid", which cannot be left. In a mount namespace the root is that of the namespace.
    """

    __slots__ = ("_back", "_names", "_pid")

    def __init__(self, pid: int, *names: str) -> None:
        self._pid = pid
        self._names = names
        self._back = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as back, ExitStack() as opened:
            wanted = []
            for name in self._names:
                fd = os.open(f"/proc/{self._pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, fd)
                wanted.append((fd, FLAGS[name]))
            for name in self._names:
                own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                back.callback(os.close, own)
                if name == "mnt":
                    self._keep_directories(back, own)
                else:
                    back.callback(setns, own, FLAGS[name])
            for fd, flag in wanted:
                setns(fd, flag)
            self._back = back.pop_all()

    def _keep_directories(self, back: ExitStack, own: int) -> None:
        """The root and the working directory change with the mount namespace."""
        root, cwd = (os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for name in ("/", "."))

        def leave() -> None:
            try:
                setns(own, FLAGS["mnt"])
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(cwd)
            finally:
                os.close(root)
                os.close(cwd)

        back.callback(leave)

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._back.close()


def owner(path: str) -> int:
    """The inode of the user namespace that a namespace belongs to, or that a user namespace is in (ioctl_ns(2)).

    0 for one outside of the engine's, or where there is none any more.
    """
    from fcntl import ioctl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        above = ioctl(fd, _USERNS)
    except PermissionError:
        return 0
    finally:
        os.close(fd)
    try:
        return os.fstat(above).st_ino
    finally:
        os.close(above)


def owner_uid(path: str) -> int:
    """Who has made a user namespace, as the engine calls users (ioctl_ns(2))."""
    import struct
    from fcntl import ioctl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(struct.unpack("<I", ioctl(fd, _OWNER_UID, bytes(4)))[0])
    finally:
        os.close(fd)


@contextmanager
def within(fd: int, name: str) -> Iterator[None]:
    """A context in the namespace that a descriptor stands for, of a kind but "user", "pid" and "mnt"."""
    own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, FLAGS[name])
        try:
            yield
        finally:
            setns(own, FLAGS[name])
    finally:
        os.close(own)
