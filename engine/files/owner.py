"""Who is told of a file's input and output by a signal: F_SETOWN, F_SETSIG, O_ASYNC (F_GETOWN(2const)); fown_entry.

An owner is set by a task that has the file, when all tasks are there, under the ids that set it before: the kernel
asks whether these may send signals. O_ASYNC is set there, too: the number by which it was set is what siginfo tells as
si_fd.
"""

from __future__ import annotations

import os
import stat
import struct

from engine.blocks import contextmanager
from engine.errors import BadImage, Unsupported
from engine.files.fd import Descriptor
from engine.kernel import proc
from engine.kernel.uapi import prctl as pr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.plan.program import Program
    from engine.tasks.images import TreeImages

_F_SETFL, _F_SETSIG, _F_SETOWN_EX = 4, 10, 15
_TID, _PID, _PGRP = range(3)  # F_OWNER_*
_OWNER_EX = struct.Struct("<ii")
_SIGNALS = 64
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_SAME = 0xFFFFFFFF  # of setresuid(2)
_FIELDS = {1: "reg", 2: "pipe"}  # of the types that most files have
_NOBODY = (0, 0, 0, 0, 0)
_NONE = bytes((1 << 3, 0, 2 << 3, 0, 3 << 3, 0, 4 << 3, 0, 5 << 3, 0))  # a fown_entry of zeroes


class Survey:
    """The owners of a tree's files."""

    __slots__ = ("_found",)

    def __init__(self, scope: Scope) -> None:
        self._found: list[Descriptor] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor whose file has an owner."""
        self._found.append(d)

    def blockers(self, pids: set[int]) -> list[str]:
        """Owners outside of the tree, one line each; `pids` are those of all its threads."""
        out = []
        for d in self._found:
            _, kind, pid, _, _ = d.owner or _NOBODY
            if pid in pids if kind != _PGRP else _is_group(pid, pids):
                continue
            what = "process group" if kind == _PGRP else "pid"
            out.append(
                f"{d}: signals go to {what} {pid} (F_SETOWN), outside of the tree: "
                "dump both together, or clear that first"
            )
        return out

    def write(self, images: Images, message: Any) -> None:
        """They are in files.img."""


def _is_group(pgid: int, pids: set[int]) -> bool:
    """Is it a process group of the tree: its leader is there, or it has gone and nobody else is in it?"""
    if pgid in pids:
        return True
    members = {pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _pgid(pid) == pgid}
    return bool(members) and members <= pids


def _pgid(pid: int) -> int:
    try:
        return proc.Stat(pid).pgid
    except (FileNotFoundError, ProcessLookupError):
        return 0


def of(entry: Any, files: dict[int, Any]) -> Any:
    """The message of a file_entry that has its fown_entry, and flags of open(2); None where its kind has none."""
    name = _FIELDS.get(entry.type)
    if name and entry.HasField(name):
        return getattr(entry, name)
    for field, value in entry.ListFields():
        if field.message_type is None:
            continue
        names = field.message_type.fields_by_name
        if "fown" in names:
            return value
        if "regf_id" in names and value.regf_id in files:  # of a FIFO
            return of(files[value.regf_id], {})
    return None


def fill(fown: Any, owner: tuple[int, ...] | None, scope: Scope) -> None:
    """Fill a fown_entry, with what the tree calls pids and users."""
    signum, kind, pid, uid, euid = owner or _NOBODY
    fown.signum, fown.pid_type, fown.pid, fown.uid, fown.euid = signum, kind, 0, 0, 0
    if pid:
        fown.pid = _inner_group(pid, scope) if kind == _PGRP else scope.pids.inner(pid)
        fown.uid, fown.euid = scope.uid(uid), scope.uid(euid)


def _inner_group(pgid: int, scope: Scope) -> int:
    """What the tree calls a process group of its own, whose leader may have gone."""
    if not scope.pids.foreign:
        return pgid
    member = next(pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _pgid(pid) == pgid)
    return scope.pids.session(member, proc.Stat(member).sid, pgid)[1]


def dump(entry: Any, owner: tuple[int, ...] | None, scope: Scope) -> None:
    """Fill the fown_entry of a file_entry. A FIFO's is that of its regular file."""
    name = _FIELDS.get(entry.type)
    if owner is None and name and entry.HasField(name):
        getattr(entry, name).fown.MergeFromString(_NONE)
        return
    found = of(entry, {})
    if found is not None:
        fill(found.fown, owner, scope)
    elif owner and not entry.HasField("fifo"):
        raise Unsupported([f"file {entry.id:#x}: images have no place for whom signals of its kind of file go to"])


class Owners:
    """Those of images: by file id. BadImage for what cannot be set, Unsupported for owners outside of the tree."""

    __slots__ = ("_found", "_ids", "image")

    def __init__(self, tree: TreeImages, image: str) -> None:
        self.image = image
        # who the tasks' programs are until they have their own credentials
        self._ids = (0, 0) if "user" in tree.namespaces else (os.getuid(), os.geteuid())
        self._found: dict[int, tuple[Any, int]] = {}
        for ident, entry in tree.files.items():
            its = of(entry, tree.files)
            if its is None:
                continue
            flags = getattr(its, "flags", 0)
            if flags & os.O_PATH:
                continue
            # a regular file signals nothing: it has the flag by open(2), or by its lease
            is_async = flags & os.O_ASYNC and not (entry.HasField("reg") and not stat.S_ISCHR(its.mode))
            if its.fown.pid or its.fown.signum or is_async:
                self._found[ident] = (its.fown, flags if is_async else 0)
            if is_async:  # opened with it, a file would have it, without any effect, and for good
                its.flags = flags & ~os.O_ASYNC
        if any(fown.pid for fown, _ in self._found.values()):
            self._check(tree)

    def _check(self, tree: TreeImages) -> None:
        pids = {task.pid for task in tree.tasks}
        tids = pids | {tid for task in tree.tasks for tid, _ in task.threads}
        known = {_TID: tids, _PID: pids, _PGRP: {node.pgid for node in tree.nodes}}
        for ident, (fown, _) in self._found.items():
            if fown.pid_type not in known or fown.signum > _SIGNALS:
                what = f"file {ident:#x}: owner of type {fown.pid_type} with signal {fown.signum}"
                raise BadImage(self.image, 0, f"{what}: there are none such; dump again")
            if fown.pid and fown.pid not in known[fown.pid_type]:
                raise Unsupported([f"file {ident:#x}: its owner {fown.pid} (F_SETOWN) is not in the tree"])

    def __bool__(self) -> bool:
        return bool(self._found)

    def has(self, ident: int) -> bool:
        """Is there anything to set?"""
        return ident in self._found

    def plan(self, program: Program, ident: int, fd: int) -> None:
        """Set it, by a task that has the file as `fd`; its owner is there."""
        fown, flags = self._found[ident]
        if fown.signum:
            program.sys("fcntl", fd, _F_SETSIG, fown.signum, note=f"signal {fown.signum} for file {ident:#x}")
        if fown.pid:
            with self.ids(program, ident):
                raw = program.arena.put(_OWNER_EX.pack(fown.pid_type, program.called(fown.pid)))
                program.sys("fcntl", fd, _F_SETOWN_EX, raw, note=f"owner {fown.pid} of file {ident:#x}")
        if flags & os.O_ASYNC:
            program.sys("fcntl", fd, _F_SETFL, flags & _SETTABLE | os.O_ASYNC, note=f"O_ASYNC of file {ident:#x}")

    @contextmanager
    def ids(self, program: Program, ident: int) -> Iterator[None]:
        """What is planned inside is done under the ids that the owner was set by, with all capabilities.

        What a change of ids resets (dumpable, the signal of the parent's death) is set later.
        """
        fown, _ = self._found.get(ident, (None, 0))
        if fown is None or not fown.pid or (fown.uid, fown.euid) == self._ids:
            yield
            return
        bits = program.ask("prctl", pr.PR_GET_SECUREBITS, 0, 0, 0, 0)
        program.sys("prctl", pr.PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0, note="keep capabilities")
        program.sys("setresuid", fown.uid, fown.euid, _SAME)
        yield
        program.sys("setresuid", *self._ids, _SAME)
        program.sys("prctl", pr.PR_SET_SECUREBITS, bits, 0, 0, 0)
