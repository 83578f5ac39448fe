"""A task's address space, made by its own program: mappings, pages, the vdso, what mm_entry says."""

from __future__ import annotations

from bisect import bisect_right

from engine.context import Context
from engine.errors import BadImage
from engine.images.pagemap import HUGE, OWNER, PE_PRESENT
from engine.kernel.memory import PAGE
from engine.kernel.pagemap import HUGE_OFFSET, Loads
from engine.kernel.uapi import mman
from engine.memory import cow, guard, load, mm, vdso, vmas
from engine.memory.cow import Space
from engine.plan import abi
from engine.plan.program import Program, free_hole
from engine.tasks.images import TaskImages, TreeImages
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.memory.cow import Part, Range

_FD = 1  # the lowest free descriptor while a task's memory is made: only the opener's pidfd is open
_NO_FD = 0xFFFFFFFF  # (__u32)-1 of struct prctl_mm_map


class Spaces:
    """The address spaces of a tree, by the pid of the task that makes each."""

    __slots__ = ("_alone", "_ctx", "_ipc", "_opener", "_spaces")

    def __init__(self, ctx: Context, opener: Opener, tree: TreeImages) -> None:
        self._ctx = ctx
        self._opener = opener
        self._ipc = tree.namespaces.get("ipc", 0)
        owners: list[TaskImages] = []
        seen = set()
        for task in tree.live():
            if task.node.ids["vm"] not in seen:
                seen.add(task.node.ids["vm"])
                owners.append(task)
        # who is alone has no need of lists of parts, which are long where memory is fragmented
        alone = len(owners) == 1 and not owners[0].rings
        self._alone = _loads(owners[0]) if alone else None
        self._spaces: dict[int, Space] = {}
        for task in owners:
            self._spaces[task.pid] = Space(task, [] if alone else _parts(task, self._spaces))
        if len(self._spaces) > 1:
            cow.plan(tree, self._spaces, lambda number: opener.raw("PAGES", number))

    def tables_size(self) -> int:
        """Bytes of the arena that loading all of them takes, at most."""
        if self._alone:
            return load.table_size(self._alone.count)
        lists = [parts for space in self._spaces.values() for parts in (space.before, space.after)]
        return sum(load.table_size(len(parts), len({part[3] for part in parts})) for parts in lists)

    def counts(self) -> tuple[int, int, int]:
        """Pages of tasks that inherit any, which were compared; those that need not be read; those that are read."""
        if self._alone:
            return 0, 0, self._alone.size // PAGE
        stored = {pid: sum(part[1] for part in space.parts) // PAGE for pid, space in self._spaces.items()}
        read = sum(part[1] for space in self._spaces.values() for part in space.before + space.after) // PAGE
        compared = sum(stored[pid] for pid in self._spaces if self.inherits(pid))
        return compared, max(sum(stored.values()) - read, 0), read

    def comes_first(self, pid: int) -> bool:
        """Is a task's memory made before it starts its children?"""
        return pid in self._spaces and bool(self._spaces[pid].kids)

    def inherits(self, pid: int) -> bool:
        """Does a task begin with memory of who started it?"""
        return pid in self._spaces and self._spaces[pid].creator is not None

    def plan_first(self, program: Program, pid: int, pidfd: int) -> None:
        """Up to where it can start children. `pidfd` is the opener's, the only descriptor that is open."""
        space = self._spaces[pid]
        _unmap(program, space)
        self._plan_mm(program, space, pidfd)
        if space.task.rings:
            self._make_rings(program, space, pidfd)
        self._map(program, space, pidfd)
        self._load(program, space.before, pidfd)
        if self._alone:
            self._load_from(program, space.task.pages_id, self._alone, pidfd)
        if space.creator is None or not _same_vdso(space):
            vdso.plan(self._ctx.arch, program, space.task)

    def plan_last(self, program: Program, pid: int, pidfd: int) -> None:
        """The rest, when its children are there."""
        space = self._spaces[pid]
        self._load(program, space.after, pidfd)
        for start, end in space.dropped_after:
            program.sys("madvise", start, end - start, mman.MADV_DONTNEED, note="it had given this back")
        guards = guard.by_mapping(space.task.mm, f"mm-{pid}.img")
        for v in space.vmas:
            low, high = space.extents[v.start]
            if v.start not in space.kept or space.kids:
                for start, end in ((low, v.start), (v.end, high)):
                    if start < end:
                        program.sys("munmap", start, end - start, note="only for its children")
            vmas.plan_protect(program, v, space.prot[v.start], guards.get(v.start, []))

    def _plan_mm(self, program: Program, space: Space, pidfd: int) -> None:
        """With the executable, unless that is inherited: the kernel takes none while the one of now is mapped."""
        if space.creator is not None:
            mm.plan(program, space.task.mm, _NO_FD)
            return
        ident = space.task.mm.exe_file_id
        name = f"the executable {self._opener.name(ident)}"
        program.sys("pidfd_getfd", pidfd, self._opener.readable(ident), 0, expect=abi.EXPECT_EQUAL, want=_FD, note=name)
        mm.plan(program, space.task.mm, _FD)
        program.sys("close", _FD)

    def _make_rings(self, program: Program, space: Space, pidfd: int) -> None:
        from engine.memory import aio  # few tasks have any

        taken = [(program.arena.base, program.arena.base + program.arena.room), *_mapped(space)]
        scratch = free_hole(taken, max(ring.size for ring in space.task.rings))
        ident = space.task.mm.exe_file_id
        program.sys(
            "pidfd_getfd", pidfd, self._opener.readable(ident), 0, expect=abi.EXPECT_EQUAL, want=_FD, note="a file"
        )
        aio.plan(program, space.task.rings, _FD, scratch)
        program.sys("close", _FD)

    def _map(self, program: Program, space: Space, pidfd: int) -> None:
        filled = self._alone.filled if self._alone else _filled(space)
        by_file: dict[tuple[int, int], list[Any]] = {}
        segments: list[Any] = []
        for v in space.vmas:
            if v.start in space.kept:
                _keep(program, space, v, v.start in filled)
            elif v.status & vmas.AIORING:
                space.prot[v.start] = mman.PROT_READ | mman.PROT_WRITE
            elif v.status & vmas.RING:
                space.prot[v.start] = v.prot  # when the task has its descriptor
            elif v.status & vmas.SYSVIPC:
                segments.append(v)
            elif v.status & (vmas.FILE_PRIVATE | vmas.FILE_SHARED):
                by_file.setdefault((v.shmid, v.fdflags), []).append(v)
            else:
                space.prot[v.start] = vmas.plan_map(program, v, -1, v.start in filled, space.extents[v.start])
        if segments:
            self._attach(program, space, segments)
        opener = self._opener
        for (ident, flags), group in by_file.items():
            fd = program.sys("pidfd_getfd", pidfd, opener.file(ident, flags), 0, note=opener.name(ident))
            for v in group:
                space.prot[v.start] = vmas.plan_map(program, v, fd, v.start in filled, space.extents[v.start])
            program.sys("close", fd)
        for start, end in space.dropped:
            program.sys("madvise", start, end - start, mman.MADV_DONTNEED, note="it has nothing here")

    def _attach(self, program: Program, space: Space, segments: list[Any]) -> None:
        from engine.namespaces import sysv_shm  # few tasks have any

        sizes = sysv_shm.sizes(self._opener.images, self._ipc)
        taken = [(program.arena.base, program.arena.base + program.arena.room), *_mapped(space)]
        hole = free_hole(taken, max(sizes.values(), default=PAGE))
        space.prot.update(sysv_shm.plan(program, segments, sizes, hole))

    def _load(self, program: Program, parts: list[Part], pidfd: int) -> None:
        for number in dict.fromkeys(part[3] for part in parts):
            self._load_from(program, number, Loads.of([part[:3] for part in parts if part[3] == number]), pidfd)

    def _load_from(self, program: Program, number: int, loads: Loads, pidfd: int) -> None:
        if loads.count:
            source = self._opener.raw("PAGES", number)
            program.sys("pidfd_getfd", pidfd, source, 0, expect=abi.EXPECT_EQUAL, want=_FD, note="pages")
            load.plan(program, loads, _FD)
            program.sys("close", _FD)


def _filled(space: Space) -> set[int]:
    """The starts of the mappings into which pages are read, now or when its children are there."""
    lows = sorted((low, start) for start, (low, _) in space.extents.items())
    return {lows[bisect_right(lows, (part[0], 1 << 64)) - 1][1] for part in space.before + space.after}


def _keep(program: Program, space: Space, v: Any, filled: bool) -> None:
    """An inherited mapping: with the creator's protection for now, writable if pages will be read into it."""
    low, high = space.extents[v.start]
    prot = space.creator.prot[space.kept[v.start].start] if space.creator else v.prot
    if filled and not prot & mman.PROT_WRITE:
        prot = v.prot | mman.PROT_WRITE
        program.sys("mprotect", low, high - low, prot, note=lambda: vmas.text(v))
    space.prot[v.start] = prot


def _unmap(program: Program, space: Space) -> None:
    """What its creator has at that moment, except for what it inherits."""
    creator = space.creator
    if creator is None:
        return
    there = _mapped(creator)
    keep = sorted(space.extents[start] for start in space.kept)
    if _same_vdso(space):
        keep = sorted([*keep, *((v.start, v.end) for v in _vdso(creator.task))])
    for start, end in _less(there, keep):
        program.sys("munmap", start, end - start, note="of its creator")


def _mapped(space: Space) -> list[Range]:
    """What a task has mapped while it starts children."""
    return sorted([*space.extents.values(), *((v.start, v.end) for v in _vdso(space.task))])


def _less(there: list[Range], keep: list[Range]) -> list[Range]:
    """The ranges of `there` without those of `keep`; with gaps in them where nothing is kept in between."""
    out: list[Range] = []
    i = 0
    fresh = True
    for start, end in there:
        at = start
        while i < len(keep) and keep[i][1] <= at:
            i += 1
            fresh = True
        while i < len(keep) and keep[i][0] < end:
            if at < keep[i][0]:
                out.append((at, keep[i][0]))
            at = keep[i][1]
            i += 1
            fresh = True
        if at < end:
            if out and not fresh:
                out[-1] = (out[-1][0], end)
            else:
                out.append((at, end))
            fresh = False
    return out


def _vdso(task: TaskImages) -> list[Any]:
    return [v for v in task.mm.vmas if v.status & (vmas.VDSO | vmas.VVAR)]


def _same_vdso(space: Space) -> bool:
    """Is the creator's vdso where its own was?"""
    creator = space.creator
    return creator is not None and [(v.start, v.end) for v in _vdso(space.task)] == [
        (v.start, v.end) for v in _vdso(creator.task)
    ]


def _loads(task: TaskImages) -> Loads:
    """All stored pages of a task that has nothing in common with others."""
    areas = [(v.start, v.end, False) for v in cow.mapped(task)]
    areas += [(v.start, v.end, True) for v in task.mm.vmas if v.status & vmas.VDSO]
    loads = Loads(task.pagemap.data, sorted(areas))
    if loads.bad >= 0:
        raise _stray(task, loads.bad)
    return loads


def _stray(task: TaskImages, at: int) -> BadImage:
    what = f"page {at:#x} lies in no mapping of mm-{task.pid}.img; dump again"
    return BadImage(f"pagemap-{task.pid}.img", 0, what)


def _parts(task: TaskImages, others: dict[int, Space]) -> list[Part]:
    """All stored pages, by address; a part lies in one mapping. What is stored with one of the others is there too."""
    out: list[Part] = []
    offset = 0
    vdso_areas = [v for v in task.mm.vmas if v.status & vmas.VDSO]
    by_page = cow.mapped(task)
    starts = [v.start for v in by_page]
    for at, count, flags in task.pagemap:
        end = at + count * PAGE
        if not flags & PE_PRESENT:
            out += _elsewhere(task, at, end, flags >> OWNER, others)
            continue
        owner = (flags >> OWNER or task.pid) if task.tells_frames else 0
        huge = HUGE_OFFSET if flags & HUGE else 0
        while at < end:
            i = bisect_right(starts, at) - 1
            if i >= 0 and by_page[i].end > at:
                part = min(end, by_page[i].end) - at
                skip = vmas.header(by_page[i]) if at == by_page[i].start else 0
                out.append((at + skip, part - skip, offset + skip | huge, task.pages_id, owner))
            else:
                area = next((v for v in vdso_areas if v.start <= at < v.end), None)
                if area is None:
                    raise _stray(task, at)
                part = min(end, area.end) - at
            at += part
            offset += part
    return out


def _elsewhere(task: TaskImages, start: int, end: int, owner: int, others: dict[int, Space]) -> list[Part]:
    """The pages of a range that are stored with their owner alone; those that are not there either are zeroes."""
    if owner not in others:
        what = f"pages at {start:#x} are stored with pid {owner}, which does not come before it; dump again"
        raise BadImage(f"pagemap-{task.pid}.img", 0, what)
    where = [(max(v.start, start), min(v.end, end)) for v in cow.mapped(task) if v.start < end and start < v.end]
    if sum(b - a for a, b in where) != end - start:
        raise _stray(task, start)
    return cow.cut(others[owner].parts, where)
