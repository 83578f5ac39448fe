"""Cgroups at restore: the coordinator makes directories, sets properties, and moves the tasks into their places.

A task waits for that right after its birth, before it has memory that could be charged to somebody else. Who has the
set of who started it is there already. It needs no system call of the tasks themselves, whatever their namespaces and
credentials are. Threads that are elsewhere than their process are moved when they have parked: they own no memory.

--manage-cgroups: `none` and `props` want all directories to be there; `soft` and `full` make those that are not;
`strict` wants none to be there. Properties are set of what has been made, and with `props` and `full` of the rest.
"""

from __future__ import annotations

import errno
import os
import time

from engine.blocks import suppress
from engine.errors import BadImage, EngineError
from engine.images.schema import text
from engine.kernel import proc
from engine.kernel.cgroup import UNIFIED, Hierarchy, forget, member_file
from engine.tasks import cgroup_props
from engine.tasks.cgroup_image import CgroupImage, Directory, given_roots
from engine.tasks.cgroup_props import FREEZER, FREEZER_UNIFIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.tasks.images import TaskImages, TreeImages

_BUSY_S = 2.0  # how long a cgroup may have members that have ended
_CPUSET = ("cpuset.cpus", "cpuset.mems")


def read(ctx: Context, images: Images, tree: TreeImages) -> Cgroups | None:
    """What a restore has to do about cgroups; None for nothing."""
    if ctx.options.manage_cgroups == "ignore" or not images.exists("CGROUP"):
        return None
    return Cgroups(ctx, images, tree)


class Cgroups:
    """Those of one restore."""

    __slots__ = (
        *(
            "_at",
            "_frozen",
            "_image",
            "_log",
            "_made",
            "_mode",
            "_open",
            "_own",
            "_own_set",
            "_thawed",
            "_tree",
            "_yard",
        ),
    )

    def __init__(self, ctx: Context, images: Images, tree: TreeImages) -> None:
        """BadImage for sets that are not there."""
        self._log = ctx.log
        self._mode = ctx.options.manage_cgroups
        self._yard = ctx.options.cgroup_yard
        self._image = CgroupImage(images.read_one("CGROUP"), given_roots(ctx.options.cgroup_root))
        self._own = proc.cgroups(proc.read_text("/proc/self/cgroup"))
        self._at = dict(self._own)  # where the cradle is
        self._own_set: int = tree.inventory.root_cg_set
        self._tree = tree
        self._open: dict[str, Hierarchy] = {}
        self._made: list[Directory] = []
        self._thawed: list[tuple[str, str]] = []
        self._frozen: list[tuple[str, str]] = []
        for task in tree.live():
            for tid, core in task.live:
                number = self.set_of_thread(task, core)
                if number != self._own_set and number not in self._image.sets:
                    raise BadImage("cgroup.img", 0, f"there is no set {number}, which thread {tid} is in")

    # Who is where

    def set_of(self, task: TaskImages) -> int:
        """The number of the set of a process."""
        core = task.live[0][1]
        for message in (core.thread_core, task.core.tc):
            if message.HasField("cg_set"):
                return int(message.cg_set)
        return self._own_set

    def set_of_thread(self, task: TaskImages, core: Any) -> int:
        """The number of the set of a thread."""
        return int(core.thread_core.cg_set) if core.thread_core.HasField("cg_set") else self.set_of(task)

    def paths(self, number: int) -> dict[str, str]:
        """The places of a set. The engine's own of then is that of now."""
        if number == self._own_set:
            return self._own
        return {name: member.path for name, member in self._image.sets[number].items()}

    def begin(self) -> dict[str, str]:
        """Where the root task is born."""
        return self._at

    def enter(self, pid: int, before: dict[str, str], after: dict[str, str], thread: bool = False) -> None:
        """Move a process, or a thread by itself, as the engine calls it. EngineError."""
        for name in sorted(after):
            path = after[name]
            if before.get(name, "/") != path:
                self._hierarchy(name).write(path, member_file(name, thread), str(pid))

    def enter_namespace(self, pid: int, ident: int) -> None:
        """Move the cradle to where a cgroup namespace begins."""
        numbers = [self._image.held[ident]] if ident in self._image.held else []
        for task in self._tree.live():
            for tid, core in task.live:
                if task.thread_namespace("cgroup", tid) == ident:
                    numbers.append(self.set_of_thread(task, core))
        for number in numbers:
            if number in self._image.sets:
                above = {name: member.above for name, member in self._image.sets[number].items()}
                self.enter(pid, self._at, above)
                self._at = {**self._at, **above}
                return

    def _used(self) -> set[tuple[str, str]]:
        """All places that somebody comes to, but those where the engine is itself."""
        out = {
            (name, member.above)
            for number in self._image.held.values()
            for name, member in self._image.sets[number].items()
            if self._own.get(name, "/") != member.above
        }
        for task in self._tree.live():
            for number in {self.set_of_thread(task, core) for _, core in task.live} - {self._own_set}:
                for name, member in self._image.sets[number].items():
                    out |= {(name, path) for path in (member.above, member.path) if self._own.get(name, "/") != path}
        return out

    # Directories and properties

    def make(self) -> None:
        """All that has to be there before the first task is."""
        try:
            for directory in self._image.directories:
                if directory.path != "/":
                    self._directory(directory)
            for name, path in sorted(self._used()):
                self._check(name, path)
        except OSError as e:
            raise EngineError(f"cgroups: {e.filename or ''}: {e.strerror}") from e

    def _check(self, name: str, path: str) -> None:
        hierarchy = self._hierarchy(name)
        if not hierarchy.exists(path):
            if self._mode in ("none", "props"):
                raise EngineError(
                    f"cgroup {hierarchy}:{path} is not there, and --manage-cgroups={self._mode} makes none: soft does"
                )
            self._make(name, path, None)
        self._thaw(hierarchy, path)

    def _directory(self, directory: Directory) -> None:
        hierarchy = self._hierarchy(directory.hierarchy)
        there = hierarchy.exists(directory.path)
        if there and self._mode == "strict" and not self._is_ours(directory):
            raise EngineError(
                f"{directory} is there already, and --manage-cgroups=strict wants it not to be: remove it, or use soft"
            )
        if not there:
            if self._mode in ("none", "props"):
                raise EngineError(f"{directory} is not there, and --manage-cgroups={self._mode} makes none: soft does")
            self._make(directory.hierarchy, directory.path, directory.entry)
        if not there or self._mode in ("props", "full"):
            self._properties(hierarchy, directory)

    def _is_ours(self, directory: Directory) -> bool:
        """Is the engine in it, or below? Such a one cannot but be there."""
        own = self._own.get(directory.hierarchy, "/")
        return own == directory.path or own.startswith(directory.path + "/")

    def _make(self, name: str, path: str, entry: Any) -> None:
        """One cgroup, with those above it that are not there."""
        hierarchy = self._hierarchy(name)
        above = path.rpartition("/")[0]
        if above and not hierarchy.exists(above):
            self._make(name, above, entry)
            if name == UNIFIED and entry is not None:
                _enable(hierarchy, above, entry)
        hierarchy.make(path)
        self._made.append(Directory(name, path, entry))
        if "cpuset" in name.split(","):  # nobody can enter one that has none
            for prop in _CPUSET:
                if not hierarchy.find(path, prop):
                    hierarchy.write(path, prop, hierarchy.find(above, prop) or "")

    def _properties(self, hierarchy: Hierarchy, directory: Directory) -> None:
        path, values = directory.path, []
        for name, value in directory.properties():
            if name not in (FREEZER, FREEZER_UNIFIED):
                values.append((name, value))
            elif value in ("FROZEN", "1"):  # last of all
                self._frozen.append((directory.hierarchy, path))
        cgroup_props.write_all(hierarchy, path, values)
        for prop in directory.entry.properties:
            if prop.HasField("perms") and prop.name not in (FREEZER, FREEZER_UNIFIED):
                _give(hierarchy, path, prop.name, prop.perms)
        if directory.entry.HasField("dir_perms"):
            _give(hierarchy, path, "", directory.entry.dir_perms)

    def _thaw(self, hierarchy: Hierarchy, path: str) -> None:
        """Nobody can be moved to, and begin in, a cgroup that is frozen: it is again when all are there."""
        unified = hierarchy.name == UNIFIED
        if not unified and "freezer" not in hierarchy.name.split(","):
            return
        at = path
        while at.strip("/"):
            said = hierarchy.find(at, FREEZER_UNIFIED if unified else "freezer.self_freezing")
            if said == "1":
                if hierarchy.find(at, "cgroup.procs"):
                    raise EngineError(f"cgroup {hierarchy}:{at} is frozen, with tasks in it: thaw it first")
                _freeze(hierarchy, at, False)
                self._thawed.append((hierarchy.name, at))
            at = at.rpartition("/")[0]

    # The end

    def settle(self) -> None:
        """All are there, and stopped: what is to be frozen is."""
        for name, path in dict.fromkeys((*self._thawed, *self._frozen)):
            _freeze(self._hierarchy(name), path, True)
        self._thawed.clear()

    def close(self) -> None:
        """Let go of the hierarchies."""
        for hierarchy in self._open.values():
            hierarchy.close()
        self._open.clear()

    def undo(self) -> None:
        """After a failure, when all tasks are gone: nothing that was made is left."""
        try:
            for directory in reversed(self._made):
                self._remove(directory)
            for name, path in self._thawed:
                _freeze(self._hierarchy(name), path, True)
        finally:
            self.close()
        for name in {directory.hierarchy for directory in self._made} - self._own.keys():
            forget(name)

    def _remove(self, directory: Directory) -> None:
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                with suppress(FileNotFoundError):
                    self._hierarchy(directory.hierarchy).remove(directory.path)
                return
            except OSError as e:
                if e.errno != errno.EBUSY or time.monotonic() > deadline:
                    self._log.error(f"{directory}, which this restore has made, cannot be removed: {e.strerror}")
                    return
            time.sleep(0.001)

    def _hierarchy(self, name: str) -> Hierarchy:
        if name not in self._open:
            self._open[name] = Hierarchy(name, self._yard)
        return self._open[name]


def _enable(hierarchy: Hierarchy, path: str, entry: Any) -> None:
    """Let what is below a new cgroup of version 2 have the controllers that it has properties of."""
    wanted = {text(prop.name).partition(".")[0] for prop in entry.properties}
    words = [f"+{name}" for name in (hierarchy.find(path, "cgroup.controllers") or "").split() if name in wanted]
    if words:
        hierarchy.write(path, "cgroup.subtree_control", " ".join(words))


def _freeze(hierarchy: Hierarchy, path: str, on: bool) -> None:
    if hierarchy.name == UNIFIED:
        hierarchy.write(path, FREEZER_UNIFIED, "1" if on else "0")
    else:
        hierarchy.write(path, FREEZER, "FROZEN" if on else "THAWED")


def _give(hierarchy: Hierarchy, path: str, name: str, perms: Any) -> None:
    """Owner and mode of a cgroup, or of a file of it; OSError."""
    st = hierarchy.stat(path, name)
    if (st.st_uid, st.st_gid, st.st_mode & 0o7777) == (perms.uid, perms.gid, perms.mode & 0o7777):
        return
    fd = hierarchy.open(path, "", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chown(name or ".", perms.uid, perms.gid, dir_fd=fd)
        os.chmod(name or ".", perms.mode & 0o7777, dir_fd=fd)
    finally:
        os.close(fd)
