"""Private pages that relatives share since a fork (copy-on-write): told by the dump, kept by the restore.

A task's memory is made before it starts the children that share pages of it. These inherit it, and bring only what
they have of their own; what the task itself has changed since their birth it brings when they are there. Who shares
what is in the images (pagemap_entry.same_as); where it is not, as in CRIU's, the same content at the same address is
taken for it. Nothing here calls the kernel, except for that comparison.
"""

from __future__ import annotations

from bisect import bisect_right

from engine.kernel.frames import same_pages
from engine.kernel.memory import PAGE
from engine.kernel.uapi import mman
from engine.memory import guard, vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from engine.tasks.births import Node
    from engine.tasks.images import TaskImages, TreeImages

    # (address, bytes, offset in the image | HUGE_OFFSET, number of the image, whose the page was first or 0 where that
    # is unknown)
    Part = tuple[int, int, int, int, int]
    Range = tuple[int, int]

_SPECIAL = vmas.VDSO | vmas.VVAR | vmas.VSYSCALL | guard.STATUS
_VERSIONS = 8  # of one page, among siblings, that are looked at
_NOT_INHERITED = 1 << mman.MADV_DONTFORK | 1 << mman.MADV_WIPEONFORK


class Space:
    """A task's private memory: how it comes about. Addresses are of its own address space.

    `parts` are all pages that the images have of it; `inherited` those that it is born with. It loads `before` and
    drops `dropped`, starts its children, and then loads `after` and drops `dropped_after`.
    """

    __slots__ = (
        "after",
        "before",
        "creator",
        "dropped",
        "dropped_after",
        "extents",
        "inherited",
        "kept",
        "kids",
        "others",
        "parts",
        "prot",
        "task",
        "vmas",
        "wanted",
    )

    def __init__(self, task: TaskImages, parts: list[Part]) -> None:
        self.task = task
        self.vmas: list[Any] = mapped(task)
        self.parts = parts
        self.wanted = parts  # those that others may have too
        self.creator: Space | None = None
        self.kids: list[Space] = []
        self.kept: dict[int, Any] = {}  # start of an inherited mapping -> what it is called at the creator
        self.extents = {v.start: (v.start, v.end) for v in self.vmas}  # while children are started
        self.others: list[Part] = []  # pages that it has not, but those that inherit from it
        self.prot: dict[int, int] = {}  # of each mapping, by its start, for now
        self.inherited: list[Part] = []
        self.before = parts
        self.after: list[Part] = []
        self.dropped: list[Range] = []
        self.dropped_after: list[Range] = []


def mapped(task: TaskImages) -> list[Any]:
    """The vma_entry list of what a restore maps itself, by address."""
    return sorted((v for v in task.mm.vmas if not v.status & _SPECIAL), key=lambda v: int(v.start))


def plan(tree: TreeImages, spaces: dict[int, Space], image: Callable[[int], int]) -> None:
    """Find who inherits what. `spaces` are those of the tasks that own one, by pid; `image` opens a pages image."""
    sharers: dict[int, int] = {}
    for node in tree.nodes:
        if not node.dead:
            sharers[node.ids["vm"]] = sharers.get(node.ids["vm"], 0) + 1
    _want(spaces)
    alone = {node.pid for node in tree.nodes if not node.dead and sharers[node.ids["vm"]] == 1}
    tables: set[int] = set()
    creators = []
    for node in tree.nodes:
        # with a descriptor table of others it could not make its memory at any time
        if node.pid in alone and node.ids["files"] not in tables:
            creators.append(spaces[node.pid])
            _adopt(spaces[node.pid], [spaces[kid.pid] for kid in _started(node) if kid.pid in alone], image)
        if not node.dead:
            tables.add(node.ids["files"])
    for space in creators:
        if space.creator is None and space.kids:
            below = list(_below(space))
            for one in reversed(below):
                _extend(one, image)
            for one in below:
                _complete(one, image)


def _want(spaces: dict[int, Space]) -> None:
    """Where the images tell: pages that nobody else has need not be looked for."""
    referred: dict[int, list[Part]] = {}
    for pid, space in spaces.items():
        for part in space.parts:
            if part[4] and part[4] != pid:
                referred.setdefault(part[4], []).append(part)
    for pid, space in spaces.items():
        if space.parts and space.parts[0][4]:
            own = ranges(sorted(referred.get(pid, [])))
            foreign = [part for part in space.parts if part[4] != pid]
            space.wanted = merged(foreign, cut([part for part in space.parts if part[4] == pid], own))


def _started(node: Node) -> Iterator[Node]:
    """Who begins with its memory: those that it starts, and those that dead ones start in between."""
    for kid in node.bears:
        if kid.dead:
            yield from _started(kid)
        else:
            yield kid


def _adopt(space: Space, others: list[Space], image: Callable[[int], int]) -> None:
    """Those of the others that share pages with it, or with each other, are its children."""
    found: set[int] = set()
    rests = []
    for other in others:
        if space.task.vdso or other.task.vdso or other.task.mm.exe_file_id != space.task.mm.exe_file_id:
            continue
        windows = _windows(space, other)
        own = cut(other.parts, windows)
        common = _same(cut(space.parts, windows), own, image)
        if common:
            found.add(other.task.pid)
        rests.append((other.task.pid, without(cut(other.wanted, windows), common)))
    for pids, _ in _common(rests, image):
        found |= pids
    for other in others:
        if other.task.pid in found:
            other.creator = space
            space.kids.append(other)


def _common(rests: list[tuple[int, list[Part]]], image: Callable[[int], int]) -> Iterator[tuple[set[int], list[Part]]]:
    """What several tasks have: (pids, parts), given each one's (pid, parts); one pid may be there more than once."""
    layers: list[list[Any]] = []  # of different versions of the same pages: parts, with a pid
    for pid, its in rests:
        rest: list[Any] = [(*part, pid) for part in its]
        for parts in layers:
            common: list[Any] = cut(parts, _same(parts, rest, image))
            rest = without(rest, ranges(common))
            if common := [part for part in common if part[5] != pid]:
                yield {pid, *(part[5] for part in common)}, [part[:5] for part in common]
        for i, parts in enumerate(layers):
            taken = ranges(parts)
            layers[i] = merged(parts, without(rest, taken))
            rest = cut(rest, taken)
        if rest and len(layers) < _VERSIONS:
            layers.append(rest)


def _below(space: Space) -> Iterator[Space]:
    """It and all that inherit from it, creators first."""
    todo = [space]
    while todo:
        one = todo.pop()
        yield one
        todo += one.kids


def _alike(v: Any, u: Any) -> bool:
    """Can one of the mappings be the other, inherited?"""
    private = vmas.ANON_PRIVATE | vmas.FILE_PRIVATE
    if (
        not v.status & u.status & private
        or v.flags != u.flags
        or v.madv != u.madv
        or v.madv & _NOT_INHERITED
        or v.name != u.name
    ):
        return False
    if v.flags & mman.MAP_HUGETLB or v.status & vmas.HEAP != u.status & vmas.HEAP:
        return False
    if v.status & vmas.FILE_PRIVATE:
        return bool(v.shmid == u.shmid and v.fdflags == u.fdflags and v.pgoff - v.start == u.pgoff - u.start)
    return True


def _overlaps(space: Space, other: Space) -> Iterator[tuple[Any, Any]]:
    """Mappings of two tasks, (one's, the other's), that overlap and are alike."""
    starts = [u.start for u in space.vmas]
    for v in other.vmas:
        at = max(bisect_right(starts, v.start) - 1, 0)
        while at < len(starts) and starts[at] < v.end:
            u = space.vmas[at]
            if u.end > v.start and _alike(v, u):
                yield u, v
            at += 1


def _windows(space: Space, other: Space) -> list[Range]:
    return [(max(u.start, v.start), min(u.end, v.end)) for u, v in _overlaps(space, other)]


def _extend(space: Space, image: Callable[[int], int]) -> None:
    """What its children want to inherit: larger mappings, and other pages than it has itself."""
    for kid in space.kids:
        for u, v in _overlaps(space, kid):
            low, high = space.extents[u.start]
            kid_low, kid_high = kid.extents[v.start]
            wanted = min(low, kid_low), max(high, kid_high)
            if not any(s < wanted[1] and wanted[0] < e for at, (s, e) in space.extents.items() if at != u.start):
                space.extents[u.start] = wanted
    for kid in space.kids:
        for parts in (kid.wanted, kid.others):
            other = without(parts, _same(space.parts, parts, image))
            space.others = merged(space.others, without(other, ranges(space.others)))


def _complete(space: Space, image: Callable[[int], int]) -> None:
    """What it loads and drops, and when, given what it inherits; and what its children inherit then."""
    inherited = space.inherited
    own = space.parts
    borrowed: list[Part] = []
    rests: list[tuple[int, list[Part]]] = []
    for kid in space.kids:
        for u, v in _overlaps(space, kid):
            low, high = kid.extents[v.start]
            if space.extents[u.start][0] <= low and high <= space.extents[u.start][1]:
                kid.kept[v.start] = u
        windows = [kid.extents[v.start] for v in kid.vmas if v.start in kid.kept]
        for parts in (kid.wanted, kid.others):
            rest = cut(parts, windows)
            rests.append((kid.task.pid, without(rest, _same(own, rest, image))))
    for _, rest in rests:
        common = cut(inherited, _same(inherited, rest, image))
        borrowed = merged(borrowed, without(common, ranges(borrowed)))
    for _, common in _common(rests, image):
        borrowed = merged(borrowed, without(common, ranges(borrowed)))
    changed = ranges(borrowed)
    first = merged(without(own, changed), borrowed) if borrowed else own
    space.before = without(first, _same(inherited, first, image)) if inherited else first
    space.after = cut(own, changed)
    space.dropped = ranges(without(inherited, ranges(first)))
    space.dropped_after = ranges(cut(without(borrowed, ranges(own)), [(v.start, v.end) for v in space.vmas]))
    for kid in space.kids:
        kid.inherited = cut(first, [kid.extents[v.start] for v in kid.vmas if v.start in kid.kept])


def _same(a: list[Part], b: list[Part], image: Callable[[int], int]) -> list[Range]:
    """Where both have the same page."""
    if not a or not b:
        return []
    if a[0][4] and b[0][4]:
        return [(start, end) for start, end, one, other in _both(a, b) if one[4] == other[4]]
    one, other = ([(part[0], part[1], part[2] & -PAGE, image(part[3])) for part in parts] for parts in (a, b))
    return same_pages(one, other)


def _both(a: Iterable[Part], b: Iterable[Part]) -> Iterator[tuple[int, int, Part, Part]]:
    """(start, end, part of one, part of the other) of all overlaps."""
    first, second = iter(a), iter(b)
    one, other = next(first, None), next(second, None)
    while one and other:
        one_end, other_end = one[0] + one[1], other[0] + other[1]
        start, end = max(one[0], other[0]), min(one_end, other_end)
        if start < end:
            yield start, end, one, other
        if one_end <= other_end:
            one = next(first, None)
        if other_end <= one_end:
            other = next(second, None)


def ranges(parts: list[Part]) -> list[Range]:
    """(start, end) of parts, by address; those that touch or overlap are one."""
    out: list[Range] = []
    for start, size, *_ in parts:
        if out and out[-1][1] >= start:
            out[-1] = (out[-1][0], max(out[-1][1], start + size))
        else:
            out.append((start, start + size))
    return out


def _piece(part: Part, start: int, end: int) -> Part:
    return (start, end - start, part[2] + start - part[0], *part[3:])


def cut(parts: list[Part], where: list[Range]) -> list[Part]:
    """What of the parts lies in the ranges; both by address."""
    out: list[Part] = []
    i = 0
    for start, end in where:
        while i < len(parts) and parts[i][0] + parts[i][1] <= start:
            i += 1
        at = i
        while at < len(parts) and parts[at][0] < end:
            part = parts[at]
            out.append(_piece(part, max(start, part[0]), min(end, part[0] + part[1])))
            at += 1
    return out


def without(parts: list[Part], where: list[Range]) -> list[Part]:
    """What of the parts lies in none of the ranges; both by address."""
    if not where:
        return parts
    out: list[Part] = []
    i = 0
    for part in parts:
        at, end = part[0], part[0] + part[1]
        while i < len(where) and where[i][1] <= at:
            i += 1
        j = i
        while j < len(where) and where[j][0] < end:
            if where[j][0] > at:
                out.append(_piece(part, at, where[j][0]))
            at = where[j][1]
            j += 1
        if at < end:
            out.append(_piece(part, at, end))
    return out


def merged(a: list[Part], b: list[Part]) -> list[Part]:
    """Two lists that do not overlap as one, by address."""
    return sorted(a + b) if a and b else a or b
