"""Descriptors of page faults (userfaultfd(2)), which CRIU does not have: of private anonymous memory of who has it.

Neither procfs nor the descriptor tell whose memory one is for, and which mappings: a task has one, or it is refused.
A fault that waits ends when the task is frozen, like by a signal; the task faults again when it runs on.
"""

from __future__ import annotations

import os
import struct
from array import array

from engine.errors import Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import proc
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.plan.program import Program, Ref

TYPE = 1001  # fd_types.USERFAULTFD
_USER_MODE_ONLY = 1  # UFFD_USER_MODE_ONLY
_API = 0xAA  # UFFD_API
_INITIALIZED = 1 << 31
_FORK, _UNPOPULATED, _ASYNC = 1 << 1, 1 << 13, 1 << 15  # UFFD_FEATURE_*
_REFUSED = {
    _FORK: "tells of forks (UFFD_FEATURE_EVENT_FORK)",
    _UNPOPULATED: "protects pages that are not there (UFFD_FEATURE_WP_UNPOPULATED)",
    _ASYNC: "protects without telling (UFFD_FEATURE_WP_ASYNC)",
}
_CAP_SYS_PTRACE = 19
_WP = 2  # UFFDIO_REGISTER_MODE_WP
_PROTECTED = 1 << 57  # of an entry of /proc/PID/pagemap
_PAGE = 4096
_STRUCT_API, _REGISTER, _WRITEPROTECT = struct.Struct("<3Q"), struct.Struct("<4Q"), struct.Struct("<3Q")


def _iowr(number: int, size: int) -> int:
    return 3 << 30 | size << 16 | _API << 8 | number


def _features(d: Descriptor) -> int | None:
    """What was agreed on; None before UFFDIO_API."""
    features = int(d.info["API"].split(":")[1], 16)
    return features & ~_INITIALIZED if features & _INITIALIZED else None


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for what a dump would set off, or not find again."""
    features = _features(d) or 0
    for bit, what in _REFUSED.items():
        if features & bit:
            raise Unsupported([f"{d}: {what}: not supported yet; close it before the dump"])


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; what is registered is for `Survey` to add."""
    entry.type = TYPE
    it = entry.userfaultfd
    it.id, it.flags, it.pid = entry.id, d.flags & ~O_CLOEXEC, int(proc.status(d.pid)["NStgid"].split()[-1])
    it.fown.SetInParent()
    it.uid, it.gid = files.scope.uid(d.stat.st_uid), files.scope.gid(d.stat.st_gid)
    features = _features(d)
    if features is not None:
        it.features = features
    # Which of the two it is the kernel does not tell: whoever may have faults of the kernel's own told, has.
    if not int(proc.status(d.pid)["CapEff"], 16) >> _CAP_SYS_PTRACE & 1:
        it.user_mode_only = True
    from engine.files import userfaultfd

    files.survey.of(userfaultfd).entries[d.stat.st_ino] = entry


class Survey:
    """Whose memory they are for."""

    __slots__ = ("_descriptors", "_ranges", "entries")

    def __init__(self, scope: Scope) -> None:
        self._descriptors: dict[int, list[Descriptor]] = {}  # by inode: each userfaultfd has its own
        self._ranges: dict[int, list[proc.Vma]] = {}
        self.entries: dict[int, Any] = {}

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._descriptors.setdefault(d.stat.st_ino, []).append(d)

    def registered(self, pid: int, vma: proc.Vma) -> None:
        """A mapping of a task that is registered with one."""
        self._ranges.setdefault(pid, []).append(vma)

    def blockers(self, pids: set[int]) -> list[str]:
        """Userfaultfds that several tasks have; mappings that are registered with one that their task does not have."""
        out = []
        having: dict[int, set[int]] = {}
        for ino, its in self._descriptors.items():
            holders = {d.pid for d in its}
            if len(holders) > 1:
                others = ", ".join(str(pid) for pid in sorted(holders))
                out.append(f"{its[0]}: pids {others} have it, whose memory it is for is not known: not supported yet")
            for pid in holders:
                having.setdefault(pid, set()).add(ino)
        for pid, vmas in self._ranges.items():
            count = len(having.get(pid, ()))
            if count != 1:
                what = "several userfaultfds, not known which" if count else "a userfaultfd that the task does not have"
                out.append(f"pid {pid}: mapping {vmas[0]}: registered with {what}: not supported yet")
        return out

    def write(self, images: Images, message: Any) -> None:
        """Add to the file_entries what is registered, and protected."""
        for ino, its in self._descriptors.items():
            entry, pid = self.entries[ino].userfaultfd, its[0].pid
            for v in self._ranges.get(pid, ()):
                entry.ranges.add(start=v.start, end=v.end, mode=v.uffd)
                for start, end in _protected(pid, v) if v.uffd & _WP else ():
                    entry.protected.add(start=start, end=end, mode=0)


def _protected(pid: int, v: proc.Vma) -> list[tuple[int, int]]:
    """The pages of a mapping that are write-protected."""
    out: list[tuple[int, int]] = []
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as f:
        f.seek(v.start // _PAGE * 8)
        at = v.start
        while at < v.end:
            for word in array("Q", f.read(min((v.end - at) // _PAGE * 8, 1 << 20))):
                if word & _PROTECTED:
                    if out and out[-1][1] == at:
                        out[-1] = (out[-1][0], at + _PAGE)
                    else:
                        out.append((at, at + _PAGE))
                at += _PAGE
    return out


def task_behind(entry: Any) -> int:
    """Whose memory it is for."""
    pid: int = entry.userfaultfd.pid
    return pid


def plan_open(program: Program, entry: Any, proc_fd: int, lowest: int) -> Ref:
    """By the task itself, whose memory is complete: what is registered from then on is told of."""
    it, arena = entry.userfaultfd, program.arena
    flags = it.flags & os.O_NONBLOCK | O_CLOEXEC | (_USER_MODE_ONLY if it.user_mode_only else 0)
    own = it.uid == os.geteuid() and it.gid == os.getegid()
    if not own:  # whose its inode is, and that cannot be given away
        program.ask("setfsgid", it.gid)
        program.ask("setfsuid", it.uid)
    fd = program.sys("userfaultfd", flags, expect=abi.EXPECT_EQUAL, want=lowest)
    if not own:
        program.ask("setfsuid", os.geteuid())
        program.ask("setfsgid", os.getegid())
    if not it.HasField("features"):
        return fd
    request = arena.put(_STRUCT_API.pack(_API, it.features, 0))
    program.sys("ioctl", fd, _iowr(0x3F, _STRUCT_API.size), request, note=f"UFFDIO_API, features {it.features:#x}")
    for r in it.ranges:
        request = arena.put(_REGISTER.pack(r.start, r.end - r.start, r.mode, 0))
        what = f"UFFDIO_REGISTER {r.start:x}-{r.end:x}, mode {r.mode}"
        program.sys("ioctl", fd, _iowr(0, _REGISTER.size), request, note=what)
    for r in it.protected:
        request = arena.put(_WRITEPROTECT.pack(r.start, r.end - r.start, 1))
        what = f"UFFDIO_WRITEPROTECT {r.start:x}-{r.end:x}"
        program.sys("ioctl", fd, _iowr(6, _WRITEPROTECT.size), request, note=what)
    return fd
