"""Root, working directory and umask of a task (chroot(2), chdir(2), umask(2)): FS image."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.files.table import FileTable
    from engine.plan.program import Program
    from engine.tasks.collect import Collected
    from engine.tasks.descriptors import Descriptors
    from engine.tasks.images import TaskImages, TreeImages
    from engine.tasks.opener import Opener


def dump(task: Collected, files: FileTable) -> None:
    """Fill the fs_entry of a task that is frozen."""
    task.fs.cwd_id = files.path(task.view, "cwd")
    task.fs.root_id = files.path(task.view, "root")
    task.fs.umask = int(task.live[0].status["Umask"], 8)


class Fs:
    """Those of the tasks of a restore; `covered` are the mounts on / that others lie over."""

    __slots__ = ("_covered", "_descriptors", "_opener", "_tree")

    def __init__(self, tree: TreeImages, opener: Opener, descriptors: Descriptors, covered: set[int]) -> None:
        self._tree = tree
        self._opener = opener
        self._descriptors = descriptors
        self._covered = covered

    def enter(self, program: Program, task: TaskImages) -> None:
        """Before the task has files of its own."""
        from engine.tasks.descriptors import OPENER_FD  # a dump needs none

        opener = self._opener
        program.sys("umask", task.fs.umask)
        if self._is_late(task):
            return
        if self._has_root(task):
            ident = task.fs.root_id
            root = program.sys("pidfd_getfd", OPENER_FD, opener.file(ident), 0, note=opener.name(ident))
            program.sys("fchdir", root)
            program.sys("chroot", program.arena.text("."))
            program.sys("close", root)
        ident = task.fs.cwd_id
        cwd = program.sys("pidfd_getfd", OPENER_FD, opener.file(ident), 0, note=opener.name(ident))
        program.sys("fchdir", cwd)
        program.sys("close", cwd)

    def enter_late(self, program: Program, task: TaskImages) -> None:
        """When all tasks are there: a working directory that procfs has of one of them."""
        if self._is_late(task):
            self._descriptors.enter_late(program, self._tree.files[task.fs.cwd_id])
            if self._has_root(task):
                program.sys("chroot", program.arena.text(self._opener.name(task.fs.root_id)))

    def _has_root(self, task: TaskImages) -> bool:
        """Is its root another one than that of its namespace?"""
        ident = task.fs.root_id
        return self._opener.name(ident) != "/" or self._tree.files[ident].reg.mnt_id in self._covered

    def _is_late(self, task: TaskImages) -> bool:
        kind = self._opener.kind(task.fs.cwd_id)
        return hasattr(kind, "task_behind") and kind.task_behind(self._tree.files[task.fs.cwd_id]) > 0
