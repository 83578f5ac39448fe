"""One descriptor of a task as procfs shows it, and fdinfo-ID.img: which number, which description, close-on-exec."""

import os
import stat

from engine.kernel import proc

O_CLOEXEC = 0o2000000
FD_CLOEXEC = 1


def may_be_memfd(name: str) -> bool:
    """Can a link of procfs lead to a memfd or to shared anonymous memory? engine/files/memfd.py knows."""
    return name.endswith(" (deleted)") and name.startswith(("/memfd:", "/dev/zero ", "/anon_hugepage "))


class Descriptor:
    """Where a descriptor points, and what fdinfo says of it."""

    __slots__ = ("fd", "flags", "info", "link", "path", "pid", "stat")

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd
        self.path = f"/proc/{pid}/fd/{fd}"
        self.link = os.readlink(self.path)
        self.info = proc.fdinfo(pid, fd)
        self.flags = int(self.info["flags"], 8)
        self.stat = os.stat(self.path)

    @property
    def cloexec(self) -> int:
        """FD_CLOEXEC or 0."""
        return FD_CLOEXEC if self.flags & O_CLOEXEC else 0

    def what(self) -> str:
        """A word for the kind of object."""
        mode = self.stat.st_mode
        if self.link.startswith("anon_inode:"):
            return self.link.removeprefix("anon_inode:").strip("[]")
        for test, name in (
            (stat.S_ISSOCK, "socket"),
            (stat.S_ISFIFO, "pipe" if self.link.startswith("pipe:") else "fifo"),
            (stat.S_ISCHR, "character device"),
            (stat.S_ISBLK, "block device"),
            (stat.S_ISDIR, "directory"),
        ):
            if test(mode):
                return name
        return "memfd" if self.link.startswith("/memfd:") else "file"

    def __str__(self) -> str:
        return f"pid {self.pid}: fd {self.fd} ({self.what()} {self.link})"
