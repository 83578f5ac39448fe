"""Time namespaces (time_namespaces(7)): where CLOCK_MONOTONIC and CLOCK_BOOTTIME stand; timens-ID.img.

The image has what the tree's clocks showed at the moment of the dump, and a restored tree's go on from there, whatever
machine it is on. So what tasks have remembered of these clocks, deadlines of timers and of sleeps, stays right. A tree
that was in the engine's own time namespace (timens-0.img) stays in that, unless its clocks would go back there.
"""

from __future__ import annotations

import os
import time

from engine.errors import BadImage, EngineError
from engine.kernel import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.table import Namespace

_IMAGE = "TIMENS"
OWN = 0  # the image's number for the engine's own
_NS = 1_000_000_000
_CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """Any can be dumped; what a task may not have besides, `task_blockers` says."""
    return []


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{name}")
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/ns"):
            return ""  # a kernel without time namespaces
        raise


def dump(ctx: Context, images: Images, ns: Namespace) -> None:
    """Write timens-ID.img, while the tree is frozen."""
    is_its = f"time:[{ns.inode}]" == _link(ns.pid, "time")  # or that of its children to come
    _dump_clocks(ctx, images, _offsets(ns.pid) if is_its else _for_children(ns.pid), ns.ident)


def dump_own(ctx: Context, images: Images) -> None:
    """Write timens-0.img: the tree is in the engine's own time namespace."""
    _dump_clocks(ctx, images, _for_children("self"), OWN)


def _dump_clocks(ctx: Context, images: Images, its: dict[str, int], ident: int) -> None:
    """Write what the clocks show in the time namespace with these offsets."""
    own = _for_children("self")
    entry = ctx.schema.message("timens_entry")()
    for name, clock in _CLOCKS.items():
        part = getattr(entry, name)
        part.tv_sec, part.tv_nsec = divmod(time.clock_gettime_ns(clock) - own[name] + its[name], _NS)
    images.write(_IMAGE, (ident,), [entry])


def clocks(images: Images, ident: int) -> dict[str, int]:
    """What "monotonic" and "boottime" showed at the dump, in ns. BadImage for times that no clock shows."""
    entry = images.read_one(_IMAGE, ident)
    out = {}
    for name in _CLOCKS:
        part = getattr(entry, name)
        if part.tv_sec >= 1 << 32 or part.tv_nsec >= _NS:  # the kernel's limit is 146 years
            what = f"{name}: {part.tv_sec} s and {part.tv_nsec} ns are no time that a machine is up; dump again"
            raise BadImage(images.name(_IMAGE, ident), 0, what)
        out[name] = part.tv_sec * _NS + part.tv_nsec
    return out


def is_ahead(images: Images) -> bool:
    """Would the clocks of a tree that was in the engine's own time namespace go back here, after a reboot say?"""
    if not images.exists(_IMAGE, OWN) or not os.path.exists("/proc/self/ns/time"):
        return False
    return any(then > time.clock_gettime_ns(_CLOCKS[name]) for name, then in clocks(images, OWN).items())


def offsets(images: Images, ident: int) -> str:
    """What /proc/PID/timens_offsets takes for the clocks to go on from where they were at the dump, from now on.

    The file counts from the initial time namespace, whatever the engine's own is.
    """
    own = _for_children("self")
    lines = []
    for name, then in clocks(images, ident).items():
        seconds, ns = divmod(then - (time.clock_gettime_ns(_CLOCKS[name]) - own[name]), _NS)
        lines.append(f"{name} {seconds} {ns}\n")
    return "".join(lines)


def write_offsets(pid: int, images: Images, ident: int) -> None:
    """Set the clocks of the time namespace that a task's children will be in; it has no task yet."""
    text = offsets(images, ident)
    name = f"/proc/{pid}/timens_offsets"
    try:
        with open(name, "w", encoding="ascii") as f:
            f.write(text)
    except OSError as e:
        said = ", ".join(text.splitlines())
        raise EngineError(f"cannot write {said} to {name} ({images.name(_IMAGE, ident)}): {e.strerror}") from e


def ahead(pid: int) -> dict[int, int]:
    """By how many ns a task's clocks are ahead of the engine's, by clock."""
    own, its = _for_children("self"), _offsets(pid)
    return {clock: its[name] - own[name] for name, clock in _CLOCKS.items()}


def _offsets(pid: int) -> dict[str, int]:
    """The offsets of a task's time namespace from the initial one, in ns."""
    if _link(pid, "time") == _link(pid, "time_for_children"):
        return _for_children(pid)
    from engine.kernel.namespaces import entered

    with entered(pid, "time"):
        return _for_children("self")


def _for_children(pid: int | str) -> dict[str, int]:
    """The offsets that a task's children to come will have: procfs shows no others."""
    found = dict.fromkeys(_CLOCKS, 0)
    try:
        text = proc.read_text(f"/proc/{pid}/timens_offsets")
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/ns"):
            return found  # a kernel without time namespaces
        raise
    for line in text.splitlines():
        name, seconds, ns = line.split()
        found[name] = int(seconds) * _NS + int(ns)
    return found
