"""The files of a dump: one entry of files.img for each open file description (struct file), whoever holds it.

Descriptors that are duplicates share their entry (kcmp(2) decides); files that are only mapped, executed, or are a
working directory have entries of their own, like in CRIU's images.
"""

from __future__ import annotations

import os
import stat

from engine.blocks import suppress
from engine.errors import Bug, KernelError, Unsupported
from engine.files import kinds, owner, procfs, regular
from engine.files.fd import DELETED, O_CLOEXEC, Descriptor, descriptors, may_be_memfd
from engine.kernel import proc
from engine.kernel.files import Looking
from engine.kernel.process import KCMP_FILE, kcmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from engine.files.memfd import Inodes
    from engine.files.remap import Remaps
    from engine.files.scope import Scope
    from engine.files.validation import Validation
    from engine.images.files import Images
    from engine.images.schema import Schema


# Mappings that procfs shows with an inode, but that are of no file: AIO rings, anonymous huge pages.
_NOT_FILES = ("/[aio] (deleted)", "/anon_hugepage (deleted)")


class Survey:
    """What can be said only when the descriptors of all tasks are known: each kind has its own class `Survey`."""

    __slots__ = ("_scope", "kinds")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.kinds: dict[ModuleType, Any] = {}

    def of(self, kind: ModuleType) -> Any:
        """A kind's own survey, made at its first file."""
        if kind not in self.kinds:
            self.kinds[kind] = kind.Survey(self._scope)
        return self.kinds[kind]

    def add(self, kind: ModuleType, d: Descriptor) -> None:
        """One more descriptor."""
        if hasattr(kind, "Survey"):
            self.of(kind).add(d)
        if d.owner and d.owner[2]:  # somebody is told of input and output
            self.of(owner).add(d)

    def registered(self, pid: int, vma: proc.Vma) -> None:
        """A mapping of a task that is registered with a userfaultfd."""
        from engine.files import userfaultfd  # few tasks have any

        self.of(userfaultfd).registered(pid, vma)

    def blockers(self, pids: set[int]) -> list[str]:
        """What leads out of the tree, one line each; `pids` are those of all its threads."""
        return [line for its in self.kinds.values() for line in its.blockers(pids)]

    def write(self, images: Images, message: Any) -> None:
        """Write the images that kinds have besides files.img, while the tree is frozen."""
        for its in self.kinds.values():
            its.write(images, message)


class FileTable:
    """Entries of files.img under construction."""

    __slots__ = (
        "_add",
        "_after",
        "_all",
        "_inodes",
        "_looking",
        "_mapped",
        "_open",
        "_paths",
        "_remaps",
        "entries",
        "memfds",
        "message",
        "registered",
        "scope",
        "survey",
        "validation",
    )

    def __init__(self, schema: Schema, scope: Scope, validation: Validation) -> None:
        self.message = schema.message
        self._all = schema.many("file_entry")()
        self._add = self._all.all.add
        self.scope = scope
        self.validation = validation
        self.entries: list[Any] = []
        self._remaps: Remaps | None = None
        self._looking: Looking | None = None
        self.memfds: Inodes | None = None
        self.registered: list[tuple[int, proc.Vma]] = []  # with a userfaultfd: whose, and what
        self.survey = Survey(scope)
        self._paths: dict[tuple[str, int, int, int], int] = {}
        self._mapped: dict[tuple[str, str, int], int] = {}
        self._open: dict[tuple[object, ...], list[tuple[Descriptor, int]]] = {}
        self._after: list[tuple[ModuleType, Any, Descriptor]] = []
        self._inodes: dict[int, list[list[tuple[Descriptor, int]]]] = {}

    def look(self, pids: list[int]) -> None:
        """Begin to look at the descriptors that these have now, by their views: what opens some later closes them."""
        self._looking = Looking(pids)

    def looking(self) -> Looking:
        """What `look` has begun."""
        if self._looking is None:
            raise Bug("descriptors that nobody looks at")
        return self._looking

    def new(self) -> Any:
        """A file_entry with the next id."""
        entry = self._add(id=len(self.entries) + 1)
        self.entries.append(entry)
        return entry

    def write(self, images: Images) -> None:
        """Write files.img."""
        if all(e.type != kinds.TUNF for e in self.entries):
            images.write_all("FILES", (), self._all)
            return
        path_entry = kinds.module("tun").path_entry
        both = [x for e in self.entries for x in ([path_entry(e), e] if e.type == kinds.TUNF else [e])]
        images.write("FILES", (), both)

    def opened(self, d: Descriptor) -> tuple[int, int]:
        """(id, type) of the description behind a descriptor."""
        key = (d.link, d.flags & ~O_CLOEXEC, d.pos, d.mnt_id, d.ino)
        low = 0
        if same := self._open.get(key):
            high = len(same)
            while low < high:  # they are kept in the order that kcmp(2) defines
                middle = (low + high) // 2
                other, ident = same[middle]
                order = kcmp(d.pid, other.pid, KCMP_FILE, d.fd, other.fd)
                if not order:
                    self._note_locks(d, ident)
                    return ident, self.entries[ident - 1].type
                low, high = (low, middle) if order == 1 else (middle + 1, high)
        else:
            same = self._open[key] = []
        _note_lease(d, self.scope)
        entry, ident = self.new(), len(self.entries)
        kind = d.kind or _checked(d, self.scope)
        kind.dump(entry, d, self)
        owner.dump(entry, d.owner, self.scope)
        self.survey.add(kind, d)
        self._note_locks(d, ident)
        if hasattr(kind, "dump_after"):
            self._after.append((kind, entry, d))
        same.insert(low, (d, ident))
        return ident, entry.type

    def _note_locks(self, d: Descriptor, ident: int) -> None:
        """Those of a table are told by each of its descriptors, those of a description by whoever has it."""
        if not d.is_plain and b"\nlock:" in d.text:
            from engine.files import locks  # few trees have any

            self.survey.of(locks).found(d, ident)

    def settle(self, images: Images, pids: set[int]) -> None:
        """The descriptors of all tasks are known: Unsupported for what leads out of the tree; contents are written.

        While the tree is frozen. `pids` are those of all its threads.
        """
        if self._looking:
            self._looking.close()
        for pid, v in self.registered:
            self.survey.registered(pid, v)
        if blockers := self.survey.blockers(pids):
            raise Unsupported(blockers)
        for kind, entry, d in self._after:
            kind.dump_after(entry, d, self)
        self.validation.settle()
        self.survey.write(images, self.message)
        if self._remaps:
            self._remaps.write(images)
        if self.memfds:
            self.memfds.settle()

    def opened_all(self) -> list[list[tuple[Descriptor, int]]]:
        """Who has each description that is open, and its id; those that look alike together."""
        return list(self._open.values())

    def of_inode(self, ino: int, same: Callable[[Descriptor], bool]) -> int:
        """The first file of an inode number of which `same` holds; 0 for none."""
        files = {ident: d for its in self._open.values() for d, ident in its if d.ino == ino}
        return next((ident for ident in sorted(files) if same(files[ident])), 0)

    def find(self, ino: int, order: Callable[[Descriptor], int]) -> tuple[int, Descriptor] | None:
        """The file (id, and who has it where) that `order` calls equal, as kcmp(2) does; `ino` is what it should be."""
        if not self._inodes:
            for same in self._open.values():
                self._inodes.setdefault(same[0][0].ino, []).append(same)
        likely = self._inodes.get(ino, [])
        for same in (*likely, *(s for s in self._open.values() if s not in likely)):
            low, high = 0, len(same)
            while low < high:
                middle = (low + high) // 2
                d, ident = same[middle]
                which = order(d)
                if not which:
                    return ident, d
                low, high = (low, middle) if which == 2 else (middle + 1, high)
        return None

    def path(self, pid: int, link: str) -> int:
        """The id of a file that /proc/PID/`link` names: exe, cwd, root or a mapping of map_files."""
        where = f"/proc/{pid}/{link}"
        name = os.readlink(where)
        st = os.stat(where)
        key = (name, st.st_dev, st.st_ino, self.scope.mount_of(where) if self.scope.has_mounts else 0)
        known = self._paths.get(key)
        if known:
            return known
        entry = self.new()
        if may_be_memfd(name) and self.inodes().is_one(name, st):
            self.inodes().dump_path(entry, where, name, st)
        else:
            regular.dump_path(entry, pid, link, name, self)
        owner.dump(entry, None, self.scope)
        self._paths[key] = entry.id
        return int(entry.id)

    def remaps(self) -> Remaps:
        """The files of this dump that names do not lead to."""
        if self._remaps is None:
            from engine.files.remap import Remaps

            self._remaps = Remaps(self)
        return self._remaps

    def keep(self) -> None:
        """The dump has succeeded, and the tree ends: what was linked for a restore to find stays."""
        if self._remaps:
            self._remaps.keep()

    def close(self) -> None:
        """Let go of what is held, and remove what a dump that failed has linked."""
        if self._looking:
            self._looking.close()
        if self._remaps:
            self._remaps.close()

    def extra(self) -> Any:
        """A file_entry for what no task has itself."""
        return self.new()

    def inodes(self) -> Inodes:
        """The memfds and shared anonymous memory of this dump."""
        if self.memfds is None:
            from engine.files.memfd import Inodes

            self.memfds = Inodes(self.message, self.scope)
        return self.memfds

    def _secret(self, pid: int, vma: proc.Vma) -> int:
        """The one description of secret memory that is mapped, whoever has it; preflight has seen it."""
        if ident := self.of_inode(vma.ino, lambda d: d.link == kinds.SECRET):
            return ident
        for d in [d for its in self.scope.seen.values() for d in its.values() if d.link == kinds.SECRET]:
            with suppress(OSError):  # it has been closed
                if os.stat(d.path).st_ino == vma.ino and d.stat.st_ino == vma.ino:
                    return self.opened(d)[0]
        raise Unsupported([kinds.module("secretmem").closed(pid, vma)])

    def mapped_memfd(self, ident: int) -> Any:
        """The file_entry of what `mapped` has found if that is a memfd, else None."""
        entry = self.entries[ident - 1]
        return entry if entry.type == kinds.MEMFD else None

    def mapped(self, pid: int, vma: proc.Vma) -> int:
        """The id of a mapped file; how it is open for the mapping is in the vma_entry (mapped_flags)."""
        key = (vma.path, vma.dev, vma.ino)
        known = self._mapped.get(key)
        if not known and _is_secret(pid, vma):
            known = self._mapped[key] = self._secret(pid, vma)
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


def _is_secret(pid: int, vma: proc.Vma) -> bool:
    return vma.path == kinds.SECRET and bool(kinds.module("secretmem").is_one(f"/proc/{pid}/{_map_link(vma)}"))


def mapped_blockers(pid: int, vmas: list[proc.Vma], survey: Survey, scope: Scope) -> list[str]:
    """What among a task's mappings is of a file that cannot be dumped, one line each: deleted, or not regular.

    `survey` gets what depends on the descriptors of other tasks.
    """
    out = []
    seen = set()
    for vma in vmas:
        if vma.path == kinds.RING and not vma.known:
            survey.of(kinds.module("io_uring")).mapped(pid, vma)
        # what is wrong with the mapping itself has been said
        if vma.ino and not vma.known and vma.path.startswith("/") and (vma.path, vma.dev, vma.ino) not in seen:
            seen.add((vma.path, vma.dev, vma.ino))
            if vma.path in _NOT_FILES or vma.path.startswith("/SYSV"):
                continue
            link, what = _map_link(vma), f"mapping {vma}"
            if _is_secret(pid, vma):
                survey.of(kinds.module("secretmem")).mapped(pid, vma)
                continue
            try:
                regular.check_mapped(f"/proc/{pid}/{link}", what)
                if vma.path.endswith(DELETED):
                    regular.check_path(pid, link, vma.path, what, scope)
            except Unsupported as e:
                out += e.blockers
    return out


def blockers(pid: int, survey: Survey, scope: Scope) -> list[str]:
    """What among a task's descriptors cannot be dumped, one line each; `survey` gets the others."""
    out = []
    seen = scope.seen[pid] = {}
    for d in descriptors(pid):
        seen[d.fd] = d
        _note_lease(d, scope)
        try:
            survey.add(_checked(d, scope), d)
        except Unsupported as e:
            if not d.is_gone():
                out += e.blockers
        except KernelError:
            if not d.is_gone():
                raise
    for link in ("cwd", "root", "exe"):
        try:
            name = os.readlink(f"/proc/{pid}/{link}")
            regular.check_path(pid, link, name, link, scope)
            if link == "cwd" and procfs.task_of(name):
                found = regular.find(pid, name, os.stat(f"/proc/{pid}/{link}"), link, scope, 0)
                survey.of(regular).add_name(f"pid {pid}: {link}", *found)
        except Unsupported as e:
            out += e.blockers
    return out


def _note_lease(d: Descriptor, scope: Scope) -> None:
    """Of a description that has a write lease. Whoever has one is alone: nobody else can have the file open.

    /proc/locks would tell them too, but the kernel takes 10 ms and more for that (an RCU grace period).
    """
    if not d.is_plain and b"LEASE" in d.text:
        lines = (line.split() for line in d.text.splitlines() if line.startswith(b"lock:") and b"LEASE" in line)
        if any(words[3:5] != [b"ACTIVE", b"READ"] for words in lines):
            scope.leased.add(d.ino)


def _checked(d: Descriptor, scope: Scope) -> ModuleType:
    """The kind of a descriptor that can be dumped. One that is what it was is not looked up again."""
    if d.kind:
        return d.kind
    if scope.options.externals:
        from engine.files import external

        if external.name_of(d, scope.options.externals):
            return external
    kind = kinds.kind_of(d)
    if not d.is_plain and b"\nlock:" in d.text:
        from engine.files import locks

        locks.check(d, scope)
    kind.check(d, scope)
    by_name = kind.TYPE == kinds.REG and d.found == (None, d.link) and not procfs.is_pseudo(d.link)
    if by_name or kind.TYPE == kinds.PIPE:
        d.kind = kind
    return kind
