"""PID namespaces (pid_namespaces(7)): who is in one is told by the tree itself; pidns-ID.img names an external one.

Of tasks in namespaces below the root task's pstree.img has what they are called in each (engine/tasks/numbers.py).
"""

from __future__ import annotations

import os

from engine.images.schema import set_text
from engine.kernel import proc
from engine.kernel.namespaces import owner
from engine.kernel.pids import Pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.context import Context
    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.namespaces.table import Namespace, Namespaces

_PARENT = 0xB702  # NS_GET_PARENT (ioctl_ns(2))
_PID_FROM = 0x80040000 | 0xB706  # NS_GET_PID_FROM_PIDNS
_INIT = 1


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """A namespace is made by its first process, so that has to be in the tree, unless it is there at restore."""
    root = ctx.options.tree
    if _key(ctx, ns):
        return []
    if os.readlink(f"/proc/{root}/ns/pid") != f"pid:[{ns.inode}]":
        return []  # `tree_blockers` sees to those
    inner = Pids(root).inner(root)
    if inner == _INIT:
        return []
    return [
        f"{ns}: pid {root} is pid {inner} in it: dump the tree of its pid 1, or "
        f"have it restored into one that is there: --external pid[{ns.inode}]:NAME"
    ]


def tree_blockers(pids: Iterable[int], scope: Scope, namespaces: Namespaces) -> list[str]:
    """The same of those below the root task's, when all processes of the tree are known."""
    first: set[int] = set()
    met: dict[int, int] = {}
    for pid in pids:
        try:
            if scope.pids.is_nested(pid):
                chain = _chain(pid, scope, namespaces)
                met.update((ns.inode, pid) for ns in chain)
                if scope.pids.numbers(pid)[-1] == _INIT:
                    first.add(chain[-1].inode)
            kids = namespaces.for_children("pid", pid)
            if kids and kids.inode and not _has_ended(pid):
                met[kids.inode] = pid
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    out = [
        f"pid {pid}: the first process of its pid namespace pid:[{inode}] is not in the tree: dump both together"
        for inode, pid in met.items()
        if inode not in first
    ]
    return out + _owner_blockers(pids, scope, namespaces)


def _owner_blockers(pids: Iterable[int], scope: Scope, namespaces: Namespaces) -> list[str]:
    """Who is in one that belongs to a user namespace below the tree's is born in there (engine/tasks/owned.py)."""
    top = {namespaces.of("user", scope.root_pid).inode, namespaces.own["user"].inode, 0}
    out = []
    for pid in pids:
        try:
            chain = _chain(pid, scope, namespaces) if scope.pids.is_nested(pid) else []
            inode = owner(chain[-1].path) if chain else 0
            if inode in top or scope.pids.numbers(pid)[-1] == _INIT:
                continue
            parent = proc.Stat(pid).ppid
            if scope.pids.is_nested(parent) and inode not in _users_above(pid):
                out.append(
                    f"pid {pid}: is not in the user namespace user:[{inode}] that its pid namespace belongs to, "
                    "and has lost its parent: not supported yet: end it, or dump the tree of its pid 1"
                )
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return out


def _users_above(pid: int) -> list[int]:
    """The user namespaces that a process is in, the innermost first."""
    from fcntl import ioctl

    out: list[int] = []
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            out.append(os.fstat(fd).st_ino)
            above = ioctl(fd, _PARENT)
            os.close(fd)
            fd = above
    except PermissionError:  # that is the engine's own
        return out
    finally:
        os.close(fd)


def _has_ended(pid: int) -> bool:
    """Has the first process of the namespace of a task's children to come ended, so that it can have none?"""
    from fcntl import ioctl

    fd = os.open(f"/proc/{pid}/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ioctl(fd, _PID_FROM, _INIT)
    except ProcessLookupError:
        return True
    finally:
        os.close(fd)
    return False


def dump(ctx: Context, images: Images, ns: Namespace) -> None:
    """Write pidns-ID.img for one that is external; else there is nothing but the tree."""
    if key := _key(ctx, ns):
        entry = ctx.schema.message("pidns_entry")()
        set_text(entry, "ext_key", key)
        images.write("PIDNS", (ns.ident,), [entry])


def _key(ctx: Context, ns: Namespace) -> str:
    """What the restore is to be given, or ""."""
    its = ctx.options.externals.get("pid", {})
    return its.get(str(ns.inode), "")


def dump_task(entry: Any, pid: int, tids: list[int], scope: Scope) -> None:
    """Fill a pstree_entry: what a process below the root task's namespace is called where; `tids` are its threads."""
    entry.ns_ids.extend(ns.ident for ns in _chain(pid, scope, scope.namespaces))
    for tid in tids:
        entry.ns_pids.extend(scope.pids.numbers(tid)[1:])
    sids, pgids = scope.pids.sessions(pid)
    entry.ns_sid.extend(sids[1:])
    entry.ns_pgid.extend(pgids[1:])


def waiting(pids: Iterable[int], scope: Scope) -> set[int]:
    """First processes of namespaces that end only when all of it are reaped, of whom some have parents elsewhere.

    These go to somebody outside of the tree when their parents end.
    """
    by_space = {}
    for pid in pids:
        names = tuple(ns.inode for ns in _chain(pid, scope, scope.namespaces))
        by_space[pid] = names
    joined = {
        names
        for pid, names in by_space.items()
        if scope.pids.numbers(pid)[-1] != _INIT and len(by_space.get(proc.Stat(pid).ppid, names)) < len(names)
    }
    return {pid for pid, names in by_space.items() if names in joined and scope.pids.numbers(pid)[-1] == _INIT}


def _chain(pid: int, scope: Scope, namespaces: Namespaces) -> list[Namespace]:
    """The namespaces below the root task's that a process is in, the innermost last."""
    from fcntl import ioctl

    out: list[Namespace] = []
    fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in scope.pids.numbers(pid)[1:]:
            out.insert(0, namespaces.numbered("pid", os.fstat(fd).st_ino, pid))
            above = ioctl(fd, _PARENT)
            os.close(fd)
            fd = above
    finally:
        os.close(fd)
    return out
