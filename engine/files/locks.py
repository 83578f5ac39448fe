"""File locks: POSIX locks (fcntl(2)), of open file descriptions (OFD), flock(2), and leases (F_GETLEASE(2const)).

filelocks.img names each by a task and a descriptor of it. A POSIX lock belongs to a descriptor table, every other one
to an open file description; whose pid the kernel tells is another matter, and kept where that task still has the file.
Tasks that wait for a lock make their system call again: they get it when whoever has it lets go.

A lease that is being broken is broken again at restore, while it has no owner who would be told a second time.
"""

from __future__ import annotations

import os
import struct

from engine.blocks import suppress
from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import DELETED, O_CLOEXEC, Descriptor, may_be_memfd
from engine.images.schema import text
from engine.kernel import proc, process
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.owner import Owners
    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.plan.program import Program, Ref
    from engine.tasks.images import TaskImages

IMAGE = "filelocks.img"
POSIX, FLOCK, OFD, LEASE = 1, 2, 4, 8  # file_lock_entry.flag
READ, WRITE, UNLOCKED = range(3)  # F_RDLCK, F_WRLCK, F_UNLCK; file_lock_entry.type
BREAKING = 4  # of a lease's type: the rest is what it is to become
_END = (1 << 63) - 1
_KINDS = {"POSIX": POSIX, "FLOCK": FLOCK, "OFDLCK": OFD, "LEASE": LEASE}
_TYPES = {"READ": READ, "WRITE": WRITE, "UNLCK": UNLOCKED}
NAMES = {POSIX: "POSIX", FLOCK: "flock", OFD: "OFD", LEASE: "lease"}
_F_SETLK, _F_OFD_SETLK, _F_SETLEASE, _F_SETOWN = 6, 37, 1024, 8
_FLOCK = struct.Struct("<hh4xqqi4x")  # struct flock
_LOCK_NOW = {READ: 5, WRITE: 6}  # LOCK_SH, LOCK_EX with LOCK_NB
_EAGAIN = 11
_REMEDY = "release the lock before the dump"


class Lock:
    """One line of fdinfo or /proc/locks: `1: POSIX  ADVISORY  WRITE 42 fe:00:1234 0 EOF`, `->` for one who waits."""

    __slots__ = ("dev", "end", "ino", "kind", "pid", "start", "type", "waits")

    def __init__(self, line: str) -> None:
        words = line.split()[1:]
        self.waits = words[0] == "->"
        name, mode, type_, pid, inode, start, end = words[self.waits :]
        self.kind = _KINDS.get(name, 0)
        self.type = _TYPES.get(type_, -1)
        if mode == "BREAKING":
            self.type |= BREAKING
        elif mode not in ("ADVISORY", "ACTIVE"):
            self.kind = 0
        self.pid = int(pid)
        major, minor, ino = inode.split(":")
        self.dev = os.makedev(int(major, 16), int(minor, 16))
        self.ino = int(ino)
        self.start = int(start)
        self.end = _END if end == "EOF" else int(end)

    @property
    def key(self) -> tuple[int, ...]:
        """What tells it from other locks of the same table or description."""
        return self.kind, self.type, self.start, self.end


def lines(d: Descriptor) -> list[str]:
    """What fdinfo says of a descriptor's locks."""
    return d.info["lock"].split("\n")


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for what cannot be dumped, and for any lock without --file-locks."""
    if not scope.options.file_locks:
        kinds = sorted({line.split()[1] for line in lines(d)})
        raise Unsupported([f"{d}: has file locks ({', '.join(kinds)}): use --file-locks, or {_REMEDY}"])
    for line in lines(d):
        lock = Lock(line)
        if not lock.kind or lock.type < 0:
            raise Unsupported([f"{d}: this kind of lock is not supported ({line}); {_REMEDY}"])
        if lock.kind == LEASE and (may_be_memfd(d.link) or d.link.endswith(DELETED)) and lock.type != READ:
            raise Unsupported([f"{d}: its contents cannot be read without breaking its lease; {_REMEDY}"])


class Survey:
    """The locks of a tree, by the descriptors that tell them."""

    __slots__ = ("_holders", "_of_files", "_of_tables", "_pids")

    def __init__(self, scope: Scope) -> None:
        self._pids = scope.pids
        self._of_tables: dict[tuple[int, ...], tuple[Lock, Descriptor]] = {}
        self._of_files: dict[tuple[int, ...], Lock] = {}
        self._holders: dict[int, list[Descriptor]] = {}  # by file id, one of each table

    def found(self, d: Descriptor, ident: int) -> None:
        """A descriptor of file `ident` that tells locks."""
        self._holders.setdefault(ident, []).append(d)
        for line in lines(d):
            lock = Lock(line)
            if lock.kind == POSIX:
                self._of_tables.setdefault((d.pid, ident, *lock.key), (lock, d))
            else:
                self._of_files.setdefault((ident, *lock.key), lock)

    def blockers(self, pids: set[int]) -> list[str]:
        """None: who is outside of the tree and has the same lock keeps it."""
        return []

    def write(self, images: Images, message: Any) -> None:
        """Write filelocks.img, while the tree is frozen."""
        new = message("file_lock_entry")
        entries = []
        for lock, d in self._of_tables.values():
            entries.append(self._entry(new, lock, *_holder(lock, [d])))
        for (ident, *_), lock in self._of_files.items():
            pid, d = _holder(lock, self._holders[ident])
            entry = self._entry(new, lock, pid, d)
            if lock.type == BREAKING | UNLOCKED:
                entry.broken_type = _broken(d)
            entries.append(entry)
        images.write("FILE_LOCKS", (), entries)

    def _entry(self, new: Any, lock: Lock, pid: int, d: Descriptor) -> Any:
        length = 0 if lock.end == _END else lock.end - lock.start + 1
        pid = self._pids.inner(pid)
        return new(flag=lock.kind, type=lock.type, pid=pid, fd=d.fd, start=lock.start, len=length)


def _holder(lock: Lock, known: list[Descriptor]) -> tuple[int, Descriptor]:
    """Which process to name, and a descriptor of it: whose pid the lock bears if it has the file, else any that has."""
    pids = [int(proc.status(d.pid)["Tgid"]) for d in known]
    if lock.pid in pids:
        return lock.pid, known[pids.index(lock.pid)]
    for d in known if lock.pid > 0 else []:
        try:
            if not process.kcmp(d.pid, lock.pid, process.KCMP_FILES):
                return lock.pid, d
        except KernelError:  # it is gone
            break
    return pids[0], known[0]


def _broken(d: Descriptor) -> int:
    """What a lease that is to go was: a write lease lets nobody read either. Asking disturbs none that is broken."""
    if d.flags & os.O_ACCMODE != os.O_RDONLY:
        return WRITE
    try:
        os.close(os.open(d.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except BlockingIOError:
        return WRITE
    return READ


class Restored:
    """A lock of images: which task sets it, by which descriptor, of which file."""

    __slots__ = ("end", "entry", "file", "ours", "pid")

    def __init__(self, entry: Any, file: Any, ours: frozenset[int] | None) -> None:
        self.entry = entry
        self.file = file
        self.pid = int(entry.pid)
        self.end = entry.start + entry.len - 1 if entry.len else _END
        self.ours = ours  # all threads of the tree; None where they cannot be told from others

    @property
    def broken(self) -> bool:
        """Is it a lease that is being broken?"""
        return bool(self.entry.type & BREAKING)

    def note(self) -> str:
        """What it is, and who is in its way."""
        entry = self.entry
        type_ = "write" if (_taken(self) if entry.flag == LEASE else entry.type) == WRITE else "read"
        path = text(self.file.reg.name) if self.file.HasField("reg") else ""
        name = path or f"file {self.file.id:#x}"
        if entry.flag == LEASE:
            return f"{type_} lease of {name}{self._opened(path)}"
        where = "" if entry.flag == FLOCK else f" of bytes {entry.start} to {self.end if entry.len else 'the end'}"
        return f"{NAMES[entry.flag]} {type_} lock{where} of {name}{self._held(path)}"

    def _held(self, path: str) -> str:
        """The lock of somebody else that conflicts with this one, as /proc/locks has it."""
        if self.ours is None:
            return ""
        with suppress(OSError):
            st = os.stat(path)
            for line in proc.read_text("/proc/locks").splitlines():
                lock = Lock(line)
                rivals = (FLOCK,) if self.entry.flag == FLOCK else (POSIX, OFD)
                if lock.waits or lock.kind not in rivals or (lock.dev, lock.ino) != (st.st_dev, st.st_ino):
                    continue
                apart = lock.end < self.entry.start or self.end < lock.start or lock.pid in self.ours
                if not apart and WRITE in (lock.type, self.entry.type):
                    type_ = "write" if lock.type == WRITE else "read"
                    return f"; {_who(lock.pid)} has a {NAMES[lock.kind]} {type_} lock there"
        return ""

    def _opened(self, path: str) -> str:
        """Somebody else who has the file open: whoever has a lease for writing is the only one."""
        if self.ours is None:
            return ""
        with suppress(OSError):
            st = os.stat(path)
            for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
                if pid in self.ours or pid == os.getpid():
                    continue
                with suppress(OSError):
                    for fd in proc.fds(pid):
                        if os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), st):
                            return f"; {_who(pid)} has it open"
        return ""


def _who(pid: int) -> str:
    with suppress(OSError):
        return f"pid {pid} ({proc.Stat(pid).comm})"
    return "somebody who cannot be seen from here"


class Locks:
    """The locks of images. BadImage for what cannot be one."""

    __slots__ = ("_by_pid", "_leases", "aliases")

    def __init__(self, images: Images, files: dict[int, Any], tasks: list[TaskImages], foreign: bool) -> None:
        """`foreign`: the tree has namespaces of its own, where its pids and names mean something else."""
        self._by_pid: dict[int, list[Restored]] = {}
        self._leases: dict[int, list[Restored]] = {}  # by the number of the table
        self.aliases: dict[tuple[str, int], int] = {}
        fds: dict[int, dict[int, int]] = {}
        tables = {task.pid: task for task in tasks}
        ours = frozenset(tid for task in tasks for tid in (task.pid, *(tid for tid, _ in task.threads)))
        for entry in images.read("FILE_LOCKS"):
            what = f"{NAMES.get(entry.flag, entry.flag)} lock of pid {entry.pid}, fd {entry.fd}"
            task = tables.get(entry.pid)
            if task is None:
                raise BadImage(IMAGE, 0, f"{what}: this task is not in pstree.img; dump again")
            table = task.ids.files_id
            if table not in fds:
                fds[table] = {e.fd: e.id for e in task.fdinfo}
            file = files.get(fds[table].get(entry.fd, 0))
            if file is None:
                raise BadImage(IMAGE, 0, f"{what}: there is no such descriptor in fdinfo-{table}.img; dump again")
            _check(entry, what)
            lock = Restored(entry, file, None if foreign else ours)
            if entry.flag == LEASE:
                self._leases.setdefault(table, []).append(lock)
                if entry.type == WRITE and file.HasField("reg"):
                    self.aliases[text(file.reg.name), file.reg.flags & os.O_ACCMODE] = file.id
            else:
                self._by_pid.setdefault(entry.pid, []).append(lock)

    @property
    def leasing(self) -> int:
        """How many descriptor tables have leases."""
        return len(self._leases)

    def alias(self, entry: Any, flags: int) -> int:
        """The file that a mapping of a file_entry is made of: nobody else may open what is leased for writing."""
        key = (text(entry.reg.name), flags & os.O_ACCMODE)
        return self.aliases.get(key, int(entry.id)) if entry.HasField("reg") else int(entry.id)

    def sets(self, task: TaskImages) -> bool:
        """Has the task locks to set itself?"""
        return task.pid in self._by_pid

    def leases(self, table: int) -> list[Restored]:
        """Those whose descriptors are in a table."""
        return self._leases.get(table, [])

    def plan(self, program: Program, task: TaskImages) -> None:
        """Set a task's locks; no descriptor may be closed any more, or those of its file go with it."""
        for lock in self._by_pid.get(task.pid, []):
            entry = lock.entry
            if entry.flag == FLOCK:
                program.sys("flock", entry.fd, _LOCK_NOW[entry.type], note=lock.note)
            else:
                raw = program.arena.put(_FLOCK.pack(entry.type, os.SEEK_SET, entry.start, entry.len, 0))
                command = _F_SETLK if entry.flag == POSIX else _F_OFD_SETLK
                program.sys("fcntl", entry.fd, command, raw, note=lock.note)


def plan_leases(program: Program, leases: list[Restored], owners: Owners) -> None:
    """Take leases, without anybody who is told of them yet."""
    for lock in leases:
        with owners.ids(program, lock.file.id):  # who took it may own the file
            program.sys("fcntl", lock.entry.fd, _F_SETLEASE, _taken(lock), note=lock.note)
        program.sys("fcntl", lock.entry.fd, _F_SETOWN, 0)


def plan_breaks(program: Program, leases: list[Restored], proc_fd: Ref) -> None:
    """Open what is leased as whoever broke the lease did; `proc_fd` is a descriptor of /proc."""
    for lock in leases:
        mode = os.O_RDONLY if lock.entry.type == BREAKING | READ else os.O_WRONLY
        name = program.arena.text(f"self/fd/{lock.entry.fd}")
        flags = mode | os.O_NONBLOCK | O_CLOEXEC
        note = "breaks the lease"
        program.sys("openat", proc_fd, name, flags, 0, expect=abi.EXPECT_EQUAL, want=-_EAGAIN, note=note)


def _taken(lock: Restored) -> int:
    """The type of a lease before it was broken: what others may not do meanwhile depends on that."""
    entry, file = lock.entry, lock.file
    if not entry.type & BREAKING:
        return int(entry.type)
    if entry.type == BREAKING | READ:
        return WRITE
    if entry.HasField("broken_type"):
        return int(entry.broken_type)
    return READ if file.HasField("reg") and file.reg.flags & os.O_ACCMODE == os.O_RDONLY else WRITE


def _check(entry: Any, what: str) -> None:
    types = (READ, WRITE, BREAKING | READ, BREAKING | UNLOCKED) if entry.flag == LEASE else (READ, WRITE)
    if entry.flag not in NAMES or entry.type not in types or entry.broken_type not in (READ, WRITE):
        raise BadImage(IMAGE, 0, f"{what}: type {entry.type}: there is no such lock; dump again")
    if entry.start < 0 or entry.len < 0 or entry.start + entry.len > _END + 1:
        raise BadImage(IMAGE, 0, f"{what}: {entry.len} bytes from {entry.start} on: no such range; dump again")
