"""/proc/PID/mountinfo (proc_pid_mountinfo(5)), parsed and nothing more."""

from __future__ import annotations

import os

from engine.kernel import mounts, proc
from engine.kernel.namespaces import entered

_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "nosymfollow": mounts.MS_NOSYMFOLLOW,
}
_DELETED = "//deleted"


class Mount:
    """One line. `flags` are MS_ flags, those of propagation included; `dev` as the kernel has it: major << 20 | minor.

    `options` are those of the file system's own kind, in order; its common ones are in `sb_flags`.
    """

    __slots__ = (
        *("deleted", "dev", "flags", "fstype", "master", "mnt_id", "options", "parent", "point"),
        *("root", "sb_flags", "shared", "source"),
    )

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        ident, parent, dev, root, point, flags, *tags = left.split(" ")
        self.mnt_id = int(ident)
        self.parent = int(parent)
        major, _, minor = dev.partition(":")
        self.dev = int(major) << 20 | int(minor)
        root = unescape(root)
        self.deleted = root.endswith(_DELETED)
        self.root = root.removesuffix(_DELETED) if self.deleted else root
        self.point = unescape(point)
        self.flags = 0
        for name in flags.split(","):
            self.flags |= _FLAGS.get(name, 0)
        self.shared = self.master = 0
        for tag in tags:
            name, _, number = tag.partition(":")
            if name == "shared":
                self.shared = int(number)
                self.flags |= mounts.MS_SHARED
            elif name == "master":
                self.master = int(number)
                self.flags |= mounts.MS_SLAVE
            elif name == "unbindable":
                self.flags |= mounts.MS_UNBINDABLE
        # There may be nothing between two blanks.
        fstype, source, options = right.split(" ", 2)
        self.fstype = unescape(fstype)
        self.source = unescape(source)
        self.sb_flags = 0
        own = []
        for option in options.split(","):
            if option in mounts.SB_FLAGS:
                self.sb_flags |= mounts.SB_FLAGS[option]
            elif option != "rw":
                own.append(unescape(option))
        self.options = own

    def __str__(self) -> str:
        return f"{self.fstype} {self.source} on {self.point} (mount {self.mnt_id})"


def unescape(field: str) -> str:
    """A field with its octal escapes undone; the kernel escapes blanks, tabs, newlines, backslashes and `#`."""
    if "\\" not in field:
        return field
    first, *rest = field.split("\\")
    out = [first]
    for part in rest:
        digits = part[:3]
        if len(digits) == 3 and not digits.strip("01234567"):
            out.append(chr(int(digits, 8)) + part[3:])
        else:
            out.append("\\" + part)
    return "".join(out)


def parse(text: str) -> list[Mount]:
    """All lines, in order."""
    return [Mount(line) for line in text.split("\n") if line]


def read(pid: int) -> list[Mount]:
    """The mounts of a process's namespace, whatever its own root is: as from the root of the namespace.

    Who enters a namespace gets what is on top there. Where another root lies below, a process that was there before it
    was covered sees more.
    """
    own = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with entered(pid, "mnt"):
            found = parse(read_at(own))
    finally:
        os.close(own)
    if os.readlink(f"/proc/{pid}/root") == "/":
        seen = parse(proc.mountinfo(pid))
        if len(seen) > len(found):
            return seen
    return found


def read_at(proc: int) -> str:
    """The engine's own mountinfo, by a descriptor of /proc: there may be none where it is."""
    fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    parts = []
    try:
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(parts))
