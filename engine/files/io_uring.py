"""Rings of io_uring(7) that are idle, which CRIU does not have: counters, contents, what is registered.

The kernel counts from the making on, in words of its own: a new ring gets where the old one was by as many no-ops.
Which file is registered nobody is told but by its name, so it must be one that the tree has once. How a ring was set
up is told by sizes, by what fdinfo makes of it, and by how calls fail that fail in any case. What nothing tells is
chosen so that no program misses anything: all of a submission is taken (IORING_SETUP_SUBMIT_ALL), completions come at
once, and who has to fetch them is told so (IORING_SETUP_TASKRUN_FLAG).
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time

from engine.blocks import suppress
from engine.errors import Unsupported
from engine.files import kinds
from engine.files.fd import O_CLOEXEC, Descriptor, descriptors
from engine.kernel import proc, process, uring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.kernel.proc import Vma
    from engine.plan.program import Program, Ref

TYPE = 1003  # fd_types.IO_URING
BOUND = True  # nobody but the task behind it can make it
_LOOKS, _PAUSE_S = 10, 0.002
_MANY, _PER_S = 1 << 26, 12_000_000  # no-ops; here a second has so many
_ESCAPED = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"}  # in names that fdinfo shows
_WORD = struct.Struct("<I")


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a ring that is not idle, or cannot be made again."""
    facts = uring.look(d.pid, d.fd)
    for _ in range(_LOOKS):
        if facts.is_idle:
            break
        time.sleep(_PAUSE_S)
        facts = uring.look(d.pid, d.fd)
    out = _refusals(facts)
    fd = process.borrow(d.pid, d.fd)
    try:
        out += uring.refusals(uring.ask(fd))
        try:
            mmap.mmap(fd, 1, prot=mmap.PROT_READ, offset=uring.OFF_SQ_RING).close()
        except OSError:
            out.append("has its rings in memory of the task (IORING_SETUP_NO_MMAP): not supported yet; close it")
    finally:
        os.close(fd)
    if out:
        raise Unsupported([f"{d}: {line}" for line in out])


def _refusals(facts: uring.Facts) -> list[str]:
    out = []
    remedy = "wait for them, or cancel them, before the dump"
    if facts.polls:
        out.append(f"{facts.polls} requests are in flight that wait for files to be ready: {remedy}")
    elif facts.overflow:
        out.append(
            f"{facts.overflow} completions have found no room (IORING_SQ_CQ_OVERFLOW): read them before the dump"
        )
    elif not facts.is_idle:
        many = f"{facts.submitted} requests have had {facts.posted} completions"
        out.append(f"{many}, so there may be some in flight: {remedy}; if some had several, or none, close the ring")
    if facts.personalities:
        out.append("has personalities registered (IORING_REGISTER_PERSONALITY): unregister them before the dump")
    if facts.napi:
        out.append("polls network devices (IORING_REGISTER_NAPI): unregister that before the dump")
    return out


def _named(name: str, everybody: Iterable[Descriptor]) -> Descriptor | str:
    """The one description in the tree that has a name as fdinfo shows it; what is wrong if there is no such thing."""
    what = f"its registered file {name}"
    if name.startswith("anon_inode:"):
        return f"{what} is one of many of that name: unregister it before the dump"
    found: Descriptor | None = None
    for d in everybody:
        if "".join(_ESCAPED.get(c, c) for c in d.link) != name:
            continue
        if found is not None and process.kcmp(found.pid, d.pid, process.KCMP_FILE, found.fd, d.fd):
            return (
                f"{what} is open several times, the kernel does not tell which one it is: unregister it before the dump"
            )
        found = found or d
    if found is None:
        return f"{what} is open nowhere else in the tree: unregister it, or keep its descriptor open"
    return found


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Begin a file_entry: the rest is for `dump_after`, when all tasks have asked their rings."""
    entry.type = TYPE
    it = entry.io_uring
    it.id, it.flags = entry.id, d.flags & ~O_CLOEXEC
    it.fown.SetInParent()
    it.uid, it.gid = files.scope.uid(d.stat.st_uid), files.scope.gid(d.stat.st_gid)


def _dump(it: Any, d: Descriptor, scope: Scope) -> tuple[int, uring.Facts]:
    """All but the files that are registered; who makes it, and what fdinfo says."""
    facts = uring.look(d.pid, d.fd)
    asked = {pid: scope.rings[pid, fd] for pid, fd in _holders(d, scope)}
    if not asked:
        raise Unsupported([f"{d}: was made while the tree was frozen: dump again"])
    able = {
        pid: (tid, its)
        for pid, threads in asked.items()
        for tid, its in reversed(threads.items())
        if its[uring.EVENTFD] not in (errno.EEXIST, errno.EBADF)
    }
    if not able:
        raise Unsupported([f"{d}: the thread that alone may submit to it is not in the tree: close it before the dump"])
    owner = d.pid if d.pid in able else next(iter(able))
    issuer, answers = able[owner]
    out = uring.refusals(answers) + _refusals(facts)
    if facts.buffers and len(able) > 1:
        pinning = [pid for pid in able if proc.status(pid).get("VmPin", "0").split()[0] != "0"]
        if len(pinning) == 1:
            owner = pinning[0]
        else:
            out.append(f"pids {[*able]} have it, whose memory its registered buffers are nobody tells: unregister them")
    if facts.thread != -1:
        owner = next((pid for pid in able if _pollers(pid)), owner)
    fd = process.borrow(d.pid, d.fd)
    try:
        setup = _setup(fd, facts, answers)
        if out:
            raise Unsupported([f"{d}: {line}" for line in out])
        _dump_contents(it, fd, facts, setup)
    finally:
        os.close(fd)
    it.pid = scope.pids.inner(owner)
    it.setup, it.sq_entries, it.cq_entries = setup, facts.sq_entries, facts.cq_entries
    it.requests, it.sq_tail, it.cq_head = facts.submitted, facts.sq_tail, facts.cq_head
    if facts.submitted > _MANY:
        what = f"has had {facts.submitted} requests, and a restore makes as many no-ops"
        scope.log.warn(f"{d}: {what}: about {facts.submitted // _PER_S} s; a new ring needs fewer")
    if setup & uring.SINGLE_ISSUER and issuer != owner:
        it.issuer = scope.pids.inner(issuer)
    if setup & uring.SQPOLL:
        _dump_poller(it, d, owner, scope)
    if facts.buffer_slots:
        it.buffer_slots = facts.buffer_slots
        for slot, (address, length) in facts.buffers.items():
            it.buffers.add(slot=slot, address=address, length=length)
    if facts.file_slots:
        it.file_slots = facts.file_slots
    return owner, facts


def _holders(d: Descriptor, scope: Scope) -> list[tuple[int, int]]:
    """Who has a ring as which number, of those that were asked."""
    out = []
    for pid, fd in scope.rings:
        with suppress(FileNotFoundError, ProcessLookupError):
            if os.stat(f"/proc/{pid}/fd/{fd}").st_ino == d.stat.st_ino:
                out.append((pid, fd))
    return out


def _setup(fd: int, facts: uring.Facts, answers: dict[int, int]) -> int:
    """IORING_SETUP_*: those that can be told, and for the others what harms nobody."""
    setup = uring.SUBMIT_ALL
    if uring.ask(fd)[uring.EVENTFD] == errno.EEXIST:
        setup |= uring.SINGLE_ISSUER
        if not uring.tells_deferral():
            raise Unsupported(["an io_uring with IORING_SETUP_SINGLE_ISSUER: this kernel does not tell enough of it"])
        if answers[uring.RESIZE] == errno.EFAULT:
            setup |= uring.DEFER_TASKRUN | uring.TASKRUN_FLAG
    if facts.thread != -1:
        setup |= uring.SQPOLL
    setup |= uring.Shapes(fd, facts).setup()
    if setup & uring.DEFER_TASKRUN and not setup & uring.CQE32 and answers[uring.ZCRX] == errno.EFAULT:
        setup |= uring.CQE_MIXED
    return setup


def _dump_contents(it: Any, fd: int, facts: uring.Facts, setup: int) -> None:
    at = uring.Geometry(facts.sq_entries, facts.cq_entries, setup)
    with (
        mmap.mmap(fd, at.rings, offset=uring.OFF_SQ_RING) as rings,
        mmap.mmap(fd, at.sqes, offset=uring.OFF_SQES) as sqes,
    ):
        it.sqes = sqes[:].rstrip(b"\0")
        if at.sq_array:
            it.sq_array = rings[at.sq_array : at.sq_array + 4 * facts.sq_entries]
        it.cqes = rings[at.cqes : at.cqes + facts.cq_entries * at.cqe].rstrip(b"\0")
        for field, where in (("sq_dropped", at.dropped), ("cq_flags", at.cq_flags), ("cq_overflow", at.overflow)):
            if value := _WORD.unpack_from(rings, where)[0]:
                setattr(it, field, value)


def _dump_poller(it: Any, d: Descriptor, owner: int, scope: Scope) -> None:
    """Of its thread: whose rights it has, for which those of its process are taken; whether it is bound to a CPU."""
    status = proc.status(owner)
    poller = it.poller
    poller.fsuid, poller.fsgid = scope.uid(int(status["Uid"].split()[3])), scope.gid(int(status["Gid"].split()[3]))
    poller.groups.extend(scope.gid(int(word)) for word in status["Groups"].split())
    poller.cap_eff = int(status["CapEff"], 16)
    numbers = {os.stat(f"/proc/{owner}/fd/{fd}").st_ino: fd for pid, fd in scope.rings if pid == owner}
    rings = [fd for fd in numbers.values() if uring.look(owner, fd).thread != -1]
    bound = [os.sched_getaffinity(tid) for tid in _pollers(owner)]
    if len(rings) != len(bound):
        what = f"{len(rings)} rings are polled by {len(bound)} threads (IORING_SETUP_ATTACH_WQ)"
        raise Unsupported([f"{d}: {what}: not supported yet; close it before the dump"])
    cpus = {cpu for its in bound if len(its) == 1 < (os.cpu_count() or 1) for cpu in its}
    if cpus and len(bound) > 1:
        raise Unsupported([f"{d}: which of several polling threads is bound to a CPU is not known: not supported yet"])
    if cpus:
        poller.cpu = cpus.pop()
        it.setup |= uring.SQ_AFF


def _pollers(pid: int) -> list[int]:
    """The threads of the kernel's in a process that poll rings."""
    return [tid for tid in proc.threads(pid) if proc.Stat(tid).comm.startswith("iou-sqp-")]


def dump_after(entry: Any, d: Descriptor, files: FileTable) -> None:
    """All of it, and the files that are registered, by their ids."""
    owner, facts = _dump(entry.io_uring, d, files.scope)
    everybody = [(other, ident) for its in files.opened_all() for other, ident in its]
    out = []
    for slot, name in facts.files.items():
        found = _named(name, (other for other, _ in everybody))
        number = -1 if isinstance(found, str) else _number(owner, found)
        if isinstance(found, str):
            out.append(found)
        elif number < 0:
            out.append(f"its registered file {name}: pid {owner} does not have it: unregister it before the dump")
        else:
            ident = next(ident for other, ident in everybody if other is found)
            file = files.entries[ident - 1]
            behind = getattr(kinds.by_type(file.type), "task_behind", None)
            if behind and behind(file):
                out.append(f"its registered file {name}: is opened by a task, too late for a ring: unregister it")
            entry.io_uring.files.add(slot=slot, id=ident, fd=number)
    if out:
        raise Unsupported([f"{d}: {line}" for line in out])


def _number(pid: int, file: Descriptor) -> int:
    """A descriptor that a task has of a file; -1 for none."""
    for fd in proc.fds(pid):
        if os.readlink(f"/proc/{pid}/fd/{fd}") != file.link:
            continue
        if not process.kcmp(pid, file.pid, process.KCMP_FILE, fd, file.fd):
            return fd
    return -1


class Survey:
    """The rings of a tree, and their mappings."""

    __slots__ = ("_mapped", "_open", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._open: list[Descriptor] = []
        self._mapped: list[tuple[int, Vma]] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._open.append(d)

    def mapped(self, pid: int, vma: Vma) -> None:
        """A mapping of a task."""
        self._mapped.append((pid, vma))

    def blockers(self, pids: set[int]) -> list[str]:
        """Mappings without a descriptor, registered files that are not known: before the freeze."""
        if self._scope.frozen:  # `dump_after` looks
            return []
        everybody = [d for its in self._scope.seen.values() for d in its.values()]
        have = {(d.pid, d.stat.st_ino) for d in everybody}
        out = [closed(pid, vma) for pid, vma in self._mapped if (pid, vma.ino) not in have]
        seen = set()
        for d in self._open:
            names = [] if d.stat.st_ino in seen else uring.look(d.pid, d.fd).files.values()
            seen.add(d.stat.st_ino)
            found = (_named(name, everybody) for name in names)
            out += [f"{d}: {line}" for line in found if isinstance(line, str)]
        return out

    def write(self, images: Images, message: Any) -> None:
        """There is no image of its own."""


def closed(pid: int, vma: Vma) -> str:
    """Why a mapping cannot be dumped."""
    what = "memory of an io_uring whose descriptor the task has closed is not supported yet"
    return f"pid {pid}: mapping {vma}: {what}: keep it open, or unmap it before the dump"


def refusal(vma: Vma) -> str:
    """Why a mapping of a ring cannot be made again, "" if it can."""
    if not vma.shared:
        return "a private mapping of an io_uring is not supported yet"
    if vma.pgoff not in (uring.OFF_SQ_RING, uring.OFF_CQ_RING, uring.OFF_SQES):
        return "a part of the memory of an io_uring, or of buffers provided to one, is not supported yet: unmap it"
    return ""


def mapped(pid: int, vma: Vma, files: FileTable) -> int:
    """The file id of the ring that a mapping is of."""
    seen = files.scope.seen.get(pid)
    for d in descriptors(pid) if seen is None else seen.values():
        if uring.is_one(d.link) and d.stat.st_ino == vma.ino:
            return files.opened(d)[0]
    raise Unsupported([closed(pid, vma)])


def task_behind(entry: Any) -> int:
    """Who makes it."""
    pid: int = entry.io_uring.pid
    return pid


def plan_open(program: Program, entry: Any, proc_fd: int, lowest: int) -> Ref:
    """By the task itself (io_uring_plan.py)."""
    from engine.files import io_uring_plan

    return io_uring_plan.plan_open(program, entry, lowest)


def plan_after(program: Program, entry: Any, fd: int, task: Any) -> None:
    """What has to wait for the descriptors of the task."""
    from engine.files import io_uring_plan

    io_uring_plan.plan_after(program, entry, fd)
