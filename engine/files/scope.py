"""What a dump looks files up with: options, log, and where names lead.

The links of /proc/PID/fd and their like show names from the root of the mount namespace, whatever root the task has
(path_resolution(7)).
"""

from __future__ import annotations

import os

from engine.blocks import suppress
from engine.errors import KernelError
from engine.kernel import proc, process
from engine.kernel.pids import Pids
from engine.namespaces.table import Namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.files.detached import Detached
    from engine.files.fd import Descriptor
    from engine.log import Log
    from engine.namespaces.held import Held
    from engine.namespaces.user import Ids
    from engine.options import Options


class Scope:
    """Passed to every kind of file object. Trees in the engine's own mount namespace need no more than stat(2)."""

    __slots__ = (
        "_has_looked",
        *("_below", "_first", "_mounts", "_of", "_others", "_own", "_root", "_roots", "_seen_mounts", "_user"),
        *("build_ids", "detached", "frozen", "has_mounts", "held", "ids", "irmap", "leased", "log"),
        *("namespaces", "options", "pids", "rings", "seen", "watched"),
    )

    def __init__(self, options: Options, log: Log, root: int) -> None:
        """For the tree of task `root`."""
        self.options = options
        self.log = log
        self.pids = Pids(root)
        self.namespaces = Namespaces()
        self.ids: Ids | None = None  # of its user namespace, if that is not the engine's
        if not process.same_namespace(root, "user"):
            from engine.namespaces.user import Ids

            self.ids = Ids.of_task(root)
        self._user = os.readlink(f"/proc/{root}/ns/user")
        self._below: dict[int, str] = {}
        self._own = os.readlink("/proc/self/ns/mnt")
        self.seen: dict[int, dict[int, Descriptor]] = {}  # by pid and number: what preflight has found
        # what io_urings answer to each thread, by pid and number
        self.rings: dict[tuple[int, int], dict[int, dict[int, int]]] = {}
        self.detached: dict[int, Detached] = {}  # mounts that are in no namespace, by their ids
        self.frozen = False  # is the tree?
        self.leased: set[int] = set()  # inodes that a task has a write lease of: opening them would break it
        # of files that look_ahead of validation.py has read: by device and inode, what `changed` said then
        self.build_ids: dict[tuple[int, int], tuple[tuple[int, int, int], list[int]]] = {}
        self.watched: dict[object, tuple[str, tuple[int, int]]] = {}  # names and identities of what is (watched.py)
        self.irmap: dict[int | None, dict[int, list[str]]] = {}  # what irmap.py has found
        self._of: dict[int, str] = {}  # by pid: its mount namespace
        self._roots: dict[str, int] = {}  # by mount namespace: a descriptor of its root
        self._mounts: dict[str, set[int]] = {}
        self._seen_mounts: set[tuple[int, int]] = set()
        self._others: list[int] = []
        self._root = root
        self._has_looked = False  # for mount namespaces without tasks
        self.held: Held | None = None  # namespaces without tasks
        view = process.view(root) or root
        self.has_mounts = not process.same_namespace(view, "mnt")
        self._first = os.readlink(f"/proc/{view}/ns/mnt")  # the root task's

    @property
    def root_pid(self) -> int:
        """The root task."""
        return self._root

    def below(self, pid: int) -> str:
        """The pid and user namespaces of a process, where these are not both the root task's; else ""."""
        if pid not in self._below:
            pid_ns, user_ns = (os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "user"))
            is_top = not self.pids.is_nested(pid) and user_ns == self._user
            self._below[pid] = "" if is_top else f"{pid_ns} {user_ns}"
        return self._below[pid]

    def hold(self, kind: str, inode: int, fd: int) -> int:
        """Have a process be in a namespace that is to be dumped though no task of the tree is in it; its pid.

        KernelError if it cannot be entered.
        """
        if self.held is None:
            from engine.namespaces.held import Held

            self.held = Held()
        return self.held.hold(kind, inode, fd)

    def hold_of(self, d: Descriptor, what: str, kind: str, inode: int, fd: int) -> list[str]:
        """The same for `what` a descriptor is of: the blocker if it cannot be entered. Closes `fd`."""
        try:
            self.hold(kind, inode, fd)
        except KernelError as e:
            return [f"{d}: {what} cannot be entered ({e}): close it before the dump"]
        finally:
            os.close(fd)
        return []

    def note_held(self, namespaces: Namespaces) -> None:
        """Have these numbered as well."""
        for (kind, inode), pid in self._held():
            ns = namespaces.numbered(kind, inode, pid)
            ns.is_held = ns.pid == pid

    def uid(self, uid: int) -> int:
        """What the tree calls a user; Unsupported for one that its user namespace does not map."""
        return uid if self.ids is None else self.ids.uid_inside(uid)

    def gid(self, gid: int) -> int:
        """The same of a group."""
        return gid if self.ids is None else self.ids.gid_inside(gid)

    def open(self, pid: int, name: str, flags: int) -> int:
        """Open a name as `stat` finds it; OSError. It is close-on-exec."""
        root = self.root(pid)
        if root is None:
            return os.open(name, flags | os.O_CLOEXEC)
        from engine.kernel.namespaces import open_in  # few trees have their own mounts

        return open_in(root, name, flags)

    def stat(self, pid: int, name: str, follow: bool = True) -> os.stat_result | None:
        """What a name leads to in the mount namespace of `pid`; None for nothing. OSError for anything else."""
        look: Callable[[str], os.stat_result] = os.stat if follow else os.lstat
        try:
            root = self.root(pid)
            return look(name) if root is None else _stat_in(root, name, follow)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def root(self, pid: int) -> int | None:
        """A descriptor of the root of the mount namespace of `pid`; None for the engine's own."""
        ns = self._of.get(pid) or self._of.setdefault(pid, os.readlink(f"/proc/{pid}/ns/mnt"))
        if ns == self._own:
            return None
        if ns not in self._roots:
            from engine.kernel.namespaces import entered

            with entered(pid, "mnt"):
                self._roots[ns] = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._roots[ns]

    def procfs_of(self, pid: int) -> str:
        """The pid namespace that /proc shows in the mount namespace of `pid`; "" if it is the root task's."""
        fd = self.open(pid, "/proc", os.O_PATH | os.O_DIRECTORY)
        try:
            link = os.readlink("1/ns/pid", dir_fd=fd)
        except OSError:
            return ""
        finally:
            os.close(fd)
        return "" if link == os.readlink(f"/proc/{self._root}/ns/pid") else link

    def close(self) -> None:
        """Let go of the roots, and of namespaces without tasks."""
        if self.held:
            self.held.close()
        for fd in self._roots.values():
            os.close(fd)
        self._roots.clear()

    def viewer(self, pid: int, mnt_id: int) -> int:
        """A task that has a mount in its namespace: `pid`, or another if that has left the one it opened a file in."""
        if not self.has_mounts or self._is_in(str(pid), mnt_id):
            return pid
        for other in self.viewers():
            if self._is_in(str(other), mnt_id):
                return other
        return pid

    def viewers(self) -> list[int]:
        """One task of the tree for each mount namespace."""
        if not self._others:
            seen: dict[str, int] = {}
            todo = [self._root]
            while todo:
                pid = todo.pop()
                with suppress(FileNotFoundError, ProcessLookupError, KernelError):  # it ends
                    todo += process.scan(pid)[1]
                    view = process.view(pid)
                    seen.setdefault(os.readlink(f"/proc/{view}/ns/mnt"), view)
            for (kind, inode), pid in self._held():
                if kind == "mnt":
                    seen.setdefault(f"mnt:[{inode}]", pid)
            self._others = list(seen.values())
        return self._others

    def _is_in(self, who: str, mnt_id: int) -> bool:
        if who not in self._mounts:
            self._mounts[who] = _numbers(proc.mountinfo(who))
        return mnt_id in self._mounts[who]

    def is_covered(self, pid: int, mnt_id: int, name: str) -> bool:
        """Does another mount of the namespace that `pid` is in lie over what a mount has by that name?"""
        from engine.kernel import mountinfo
        from engine.mounts.external import covers, is_below

        mounts = {m.mnt_id: (m.parent, m.point) for m in mountinfo.read(pid)}
        return mnt_id in mounts and any(is_below(name, point) for point in covers(mounts, mnt_id))

    def mount_of(self, where: str) -> int:
        """The mount that a link of procfs leads to, by its number."""
        fd = os.open(where, os.O_PATH | os.O_CLOEXEC)
        try:
            return int(proc.fdinfo(os.getpid(), fd)["mnt_id"])
        finally:
            os.close(fd)

    def is_mounted(self, pid: int, mnt_id: int) -> bool:
        """Is a mount of this number (fdinfo) in a mount namespace of the tree, or in our own?

        A task with another root is not told of what lies outside of that: the tree's namespace is asked itself.
        """
        if (pid, mnt_id) in self._seen_mounts:
            return True
        if any(self._is_in(str(who), mnt_id) for who in (pid, "self", self.viewer(pid, mnt_id))):
            self._seen_mounts.add((pid, mnt_id))
            return True
        ns = os.readlink(f"/proc/{pid}/ns/mnt")
        if self._own != ns == self._first and mnt_id in self._all_of(ns, pid):
            return True
        self._hold_mounts()
        return any(kind == "mnt" and self._is_in(str(its), mnt_id) for (kind, _), its in self._held())

    def _held(self) -> list[tuple[tuple[str, int], int]]:
        return list(self.held.pids.items()) if self.held else []

    def _hold_mounts(self) -> None:
        """Hold the mount namespaces that descriptors of the tree are of, and no task of it is in, already now."""
        if self._has_looked or not self.has_mounts:
            return
        self._has_looked = True
        known = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in self.viewers()} | {self._own}
        todo = [self._root]
        for pid in todo:
            with suppress(FileNotFoundError, ProcessLookupError, KernelError):  # it ends
                todo += process.scan(pid)[1]
                for name in os.listdir(f"/proc/{pid}/fd"):
                    link = os.readlink(f"/proc/{pid}/fd/{name}")
                    if link.startswith("mnt:[") and link not in known:
                        fd = os.open(f"/proc/{pid}/fd/{name}", os.O_RDONLY | os.O_CLOEXEC)
                        try:
                            self.hold("mnt", int(link[5:-1]), fd)
                        finally:
                            os.close(fd)
        self._others = []  # there may be more of them

    def _all_of(self, ns: str, pid: int) -> set[int]:
        if ns not in self._mounts:
            from engine.kernel import mountinfo
            from engine.kernel.namespaces import entered

            own = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with entered(pid, "mnt"):
                    self._mounts[ns] = _numbers(mountinfo.read_at(own))
            finally:
                os.close(own)
        return self._mounts[ns]


def _numbers(mountinfo: str) -> set[int]:
    return {int(line.partition(" ")[0]) for line in mountinfo.splitlines()}


def _stat_in(root: int, name: str, follow: bool) -> os.stat_result:
    from engine.kernel.namespaces import open_in

    fd = open_in(root, name, os.O_PATH | os.O_NOFOLLOW * (not follow))
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)
