"""The files of a dump: one entry of files.img for each open file description (struct file), whoever holds it.

Descriptors that are duplicates share their entry (kcmp(2) decides); files that are only mapped, executed, or are a
working directory have entries of their own, like in CRIU's images.
"""

from __future__ import annotations

import os
import stat

from engine.errors import Unsupported
from engine.files import ghost, kinds, pipe, procfs, regular
from engine.files.fd import O_CLOEXEC, Descriptor, may_be_memfd
from engine.kernel import proc
from engine.kernel.process import KCMP_FILE, kcmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from engine.files.memfd import Inodes
    from engine.files.validation import Validation
    from engine.images.files import Images


# Mappings that procfs shows with an inode, but that are of no file: AIO rings, anonymous huge pages.
_NOT_FILES = ("/[aio] (deleted)", "/anon_hugepage (deleted)")


class Survey:
    """What can be said only when the descriptors of all tasks are known."""

    __slots__ = ("_of_tasks", "pipes")

    def __init__(self) -> None:
        self.pipes = pipe.Ends()
        self._of_tasks: list[Descriptor] = []

    def add(self, kind: ModuleType, d: Descriptor) -> None:
        """One more descriptor."""
        if kind is pipe:
            self.pipes.add(d)
        elif procfs.task_of(d.link):
            self._of_tasks.append(d)

    def blockers(self, pids: set[int]) -> list[str]:
        """What leads out of the tree, one line each; `pids` are those of all its threads."""
        return [why for d in self._of_tasks if (why := procfs.outside(d, pids))] + self.pipes.blockers(pids)


class FileTable:
    """Entries of files.img under construction."""

    __slots__ = ("_mapped", "_open", "_paths", "entries", "ghosts", "memfds", "message", "survey", "validation")

    def __init__(self, message: Any, validation: Validation) -> None:
        self.message = message  # the schema's accessor
        self.validation = validation
        self.entries: list[Any] = []
        self.ghosts = ghost.Ghosts(message)
        self.memfds: Inodes | None = None
        self.survey = Survey()
        self._paths: dict[tuple[str, int, int], int] = {}
        self._mapped: dict[tuple[str, str, int], int] = {}
        self._open: dict[tuple[object, ...], list[tuple[Descriptor, int]]] = {}

    def _new(self) -> Any:
        entry = self.message("file_entry")()
        entry.id = len(self.entries) + 1
        self.entries.append(entry)
        return entry

    def opened(self, d: Descriptor) -> tuple[int, int]:
        """(id, type) of the description behind a descriptor."""
        key = (d.link, d.flags & ~O_CLOEXEC, d.info.get("pos"), d.info.get("mnt_id"), d.info.get("ino"))
        same = self._open.setdefault(key, [])
        low, high = 0, len(same)
        while low < high:  # they are kept in the order that kcmp(2) defines
            middle = (low + high) // 2
            other, ident = same[middle]
            order = kcmp(d.pid, other.pid, KCMP_FILE, d.fd, other.fd)
            if not order:
                return ident, self.entries[ident - 1].type
            low, high = (low, middle) if order == 1 else (middle + 1, high)
        entry = self._new()
        kind = kinds.kind_of(d)
        if kind.TYPE == kinds.MEMFD:
            self._memfds().dump(entry, d)
        else:
            kind.dump(entry, d)
        if kind is regular:
            self.validation.dump(entry.reg, d.path, d.link, d.stat)
        self.survey.add(kind, d)
        if kind is regular and ghost.is_ghost(d.link, d.stat):
            self.ghosts.add(entry.id, d.path, d.stat)
        same.insert(low, (d, entry.id))
        return entry.id, entry.type

    def settle(self, images: Images, pids: set[int]) -> None:
        """The descriptors of all tasks are known: Unsupported for what leads out of the tree; contents are written.

        While the tree is frozen. `pids` are those of all its threads.
        """
        if blockers := self.survey.blockers(pids):
            raise Unsupported(blockers)
        self.validation.settle()
        self.survey.pipes.write(images, self.message)
        if self.memfds:
            self.memfds.settle()

    def path(self, pid: int, link: str) -> int:
        """The id of a file that /proc/PID/`link` names: exe, cwd, root or a mapping of map_files."""
        where = f"/proc/{pid}/{link}"
        name = os.readlink(where)
        st = os.stat(where)
        key = (name, st.st_dev, st.st_ino)
        known = self._paths.get(key)
        if known:
            return known
        entry = self._new()
        if may_be_memfd(name) and self._memfds().is_one(name, st):
            self._memfds().dump_path(entry, where, name, st)
        else:
            regular.dump_path(entry, where, name)
            self.validation.dump(entry.reg, where, name, st)
            if ghost.is_ghost(name, st):
                self.ghosts.add(entry.id, where, st)
        self._paths[key] = entry.id
        return int(entry.id)

    def _memfds(self) -> Inodes:
        if self.memfds is None:
            from engine.files.memfd import Inodes

            self.memfds = Inodes(self.message)
        return self.memfds

    def mapped_memfd(self, ident: int) -> Any:
        """The file_entry of what `mapped` has found if that is a memfd, else None."""
        entry = self.entries[ident - 1]
        return entry if entry.type == kinds.MEMFD else None

    def mapped(self, pid: int, vma: proc.Vma) -> int:
        """The id of a mapped file; how it is open for the mapping is in the vma_entry (mapped_flags)."""
        key = (vma.path, vma.dev, vma.ino)
        known = self._mapped.get(key)
        if not known:
            regular.check_mapped(f"/proc/{pid}/{_map_link(vma)}", f"mapping {vma}")
            known = self._mapped[key] = self.path(pid, _map_link(vma))
        if vma.shared and mapped_flags(pid, vma) == os.O_RDWR:
            self.validation.writes(os.stat(f"/proc/{pid}/{_map_link(vma)}"))
        return known


def mapped_flags(pid: int, vma: proc.Vma) -> int:
    """O_RDWR or O_RDONLY: how the mapped file is open (the link's mode, proc_pid_map_files(5))."""
    mode = os.lstat(f"/proc/{pid}/{_map_link(vma)}").st_mode
    return os.O_RDWR if mode & stat.S_IWUSR else os.O_RDONLY


def _map_link(vma: proc.Vma) -> str:
    return f"map_files/{vma.start:x}-{vma.end:x}"


def mapped_blockers(pid: int, vmas: list[proc.Vma]) -> list[str]:
    """What among a task's mappings is of a file that cannot be dumped, one line each: deleted, or not regular."""
    out = []
    seen = set()
    for vma in vmas:
        # what is wrong with the mapping itself has been said
        if vma.ino and not vma.known and vma.path.startswith("/") and (vma.path, vma.dev, vma.ino) not in seen:
            seen.add((vma.path, vma.dev, vma.ino))
            if vma.path in _NOT_FILES:
                continue
            where, what = f"/proc/{pid}/{_map_link(vma)}", f"mapping {vma}"
            try:
                regular.check_mapped(where, what)
                if vma.path.endswith(ghost.DELETED):
                    regular.check_path(where, vma.path, what)
            except Unsupported as e:
                out += e.blockers
    return out


def blockers(pid: int, survey: Survey) -> list[str]:
    """What among a task's descriptors cannot be dumped, one line each; `survey` gets the others."""
    out = []
    for fd in proc.fds(pid):
        d = Descriptor(pid, fd)
        try:
            survey.add(kinds.kind_of(d), d)
        except Unsupported as e:
            out += e.blockers
    for link in ("cwd", "root", "exe"):
        try:
            regular.check_path(f"/proc/{pid}/{link}", os.readlink(f"/proc/{pid}/{link}"), link)
        except Unsupported as e:
            out += e.blockers
    return out
