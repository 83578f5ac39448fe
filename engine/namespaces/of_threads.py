"""Namespaces that a thread has by itself, not in common with the others of its process (setns(2), unshare(2)).

Each thread has its own set of namespaces; only clone(2) has them all begin in the same ones.
"""

from __future__ import annotations

import os

from engine.kernel import proc, process
from engine.namespaces.table import FOR_CHILDREN, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from engine.namespaces.table import Namespaces

# Kinds that a thread can enter by itself. A user namespace it cannot, nor can it leave a pid or time namespace: only
# those of its children to come may be other ones.
KINDS = ("uts", "ipc", "net", "cgroup")
_LINKS = (*KINDS, "mnt", *(f"{kind}_for_children" for kind in FOR_CHILDREN))
_PID = "pid_for_children"
_SYSV = "/SYSV"


def look(pid: int, view: int, tids: Iterable[int], namespaces: Namespaces) -> dict[int, dict[str, Namespace]]:
    """Of threads that differ from `view`, which speaks for process `pid`: their namespaces, by what differs.

    That is a kind, or a kind and `_for_children`, then without an inode for one that has had no process yet. Pid
    namespaces of children to come are those that are not the process's own: nobody is born a thread with another one.
    """
    first = _links(view, "pid")
    out = {}
    for tid in tids:
        if tid == pid or (its := _links(tid)) == first or _is_ending(tid) or _is_ending(view):
            continue
        out[tid] = {
            name: _numbered(namespaces, name, tid, link)
            for name, link, common in zip(_LINKS, its, first, strict=True)
            if link != common
        }
    return out


def _links(tid: int, of_kids: str = "pid_for_children") -> list[str]:
    return [_link(tid, of_kids if name == _PID else name) for name in _LINKS]


def _link(tid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{tid}/ns/{name}")
    except OSError:  # there is none yet, or the thread has ended
        return ""


def _is_ending(tid: int) -> bool:
    """Has it no namespaces any more, of which some may have been seen?"""
    return not _link(tid, _LINKS[0])


def _numbered(namespaces: Namespaces, name: str, tid: int, link: str) -> Namespace:
    kind = name.removesuffix("_for_children")
    if not link:
        return Namespace(kind, 0, 0, tid)
    return namespaces.numbered(kind, int(link.partition("[")[2].rstrip("]")), tid)


def blockers(apart: Mapping[int, Mapping[str, Namespace]], view: int, vmas: list[proc.Vma]) -> list[str]:
    """What of `apart`, the threads of one process that `look` has found, cannot be made again."""
    out = []
    for tid, its in apart.items():
        if "mnt" in its:
            out.append(
                f"thread {tid} is in another mount namespace than its process: not supported, since images have one "
                "root and working directory for all threads; have a process do that"
            )
        if "ipc" in its and any(v.path.startswith(_SYSV) for v in vmas):
            out.append(
                f"thread {tid} is in another IPC namespace than its process, which has System V shared memory "
                "attached: of which of the two nothing tells; detach it before the dump"
            )
        if "ipc" in its and process.kcmp(tid, view, process.KCMP_SYSVSEM) and _has_undo(tid):
            out.append(
                f"thread {tid} has used SEM_UNDO in an IPC namespace of its own: what is undone at its end is told "
                "for processes only; have a process do that"
            )
    return out


def _has_undo(tid: int) -> bool:
    """Has it a list of what is to be undone to semaphores? The engine has none then."""
    process.forget_undo()
    return bool(process.kcmp(tid, os.getpid(), process.KCMP_SYSVSEM))


def time_blockers(
    apart: Mapping[int, Mapping[int, Mapping[str, Namespace]]], views: Mapping[int, int], namespaces: Namespaces
) -> list[str]:
    """The same of clocks of children to come: only who makes a time namespace has those born into it.

    `apart` is what `look` has found, by process; `views` says who speaks for each process of the tree.
    """
    name = "time_for_children"
    used: dict[int, int] = {}
    for view in views.values():
        its = namespaces.of("time", view)
        kids = namespaces.for_children("time", view) or its
        for inode in {its.inode, kids.inode}:
            used[inode] = used.get(inode, 0) + 1
    mine = [(pid, tid, its[name]) for pid, threads in apart.items() for tid, its in threads.items() if name in its]
    for _, _, ns in mine:
        used[ns.inode] = used.get(ns.inode, 0) + 1
    return [
        f"pid {pid}: thread {tid} has another time namespace for children to come than its process, and that is also "
        "others', or the process has one: not supported; have a process make it"
        for pid, tid, ns in mine
        if used[ns.inode] > 1 or namespaces.for_children("time", views[pid])
    ]


def dump(core: Any, its: Mapping[str, Namespace]) -> None:
    """Fill thread_core.ns_ids of a thread that `look` has found."""
    entry = core.thread_core.ns_ids
    for name, ns in its.items():
        if name != "mnt":
            setattr(entry, f"{name}_ns_id", ns.ident)


def of_image(core: Any) -> dict[str, int]:
    """The numbers in thread_core.ns_ids, by what `look` calls them."""
    return {field.name.removesuffix("_ns_id"): int(value) for field, value in core.thread_core.ns_ids.ListFields()}
