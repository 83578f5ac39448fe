"""The opener: makes every file object of the tree exactly once; tasks take theirs with pidfd_getfd(2).

While the programs are compiled each file gets a number, that of the descriptor under which the opener will have it;
they are opened afterwards, all together, when the namespaces that they are in are there.
"""

from __future__ import annotations

import os
import resource

from engine.errors import BadImage
from engine.files import kinds
from engine.files.fd import O_CLOEXEC
from engine.files.links import Links
from engine.images.schema import text
from engine.kernel.files import resize_pipe
from engine.kernel.namespaces import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any

    from engine.files.external import Given
    from engine.files.remap import Names
    from engine.files.validation import Validation
    from engine.images.files import Images
    from engine.mounts.restored import Restored
    from engine.namespaces.user import Ids
    from engine.tasks.images import TreeImages
    from engine.tasks.owned import Turn


# The numbers below are for what else is open meanwhile; with each file but those of directories one more may be.
_FIRST = 256
_NO_MOUNT = -1  # reg_file_entry.mnt_id of a file whose mount the images do not tell


class Opener:
    """Files by their id in files.img. Without namespaces it is the engine's own process."""

    __slots__ = (
        *(
            "_built",
            "_fds",
            "_kinds",
            "_locks",
            "_memfds",
            "_names",
            "_next",
            "_proc",
            "_remaps",
            "_spaces",
            "_states",
            "_wanted",
        ),
        *(
            "entered",
            "files",
            "free_pid",
            "given",
            "image",
            "images",
            "links",
            "mounts",
            "namespaces",
            "nested",
            "owners",
            "proxies",
            "resize",
            "shown",
            "spaces",
            "turns",
            "rwx_check",
            "validation",
        ),
    )

    def __init__(self, images: Images, tree: TreeImages, validation: Validation, rwx_check: bool = True) -> None:
        self.images = images
        self.links = Links()
        self.image = "files.img"
        self.files: dict[int, Any] = tree.files
        self.rwx_check = rwx_check
        self.validation = validation
        self.namespaces = tree.root_namespaces()
        self.nested = tree.nested()
        self.owners = tree.owners("mnt")
        self.spaces = tree.spaces("mnt")
        # by pid namespace whose procfs is mounted: its first process, and what somebody who goes there is called
        self.shown: dict[int, tuple[int, list[int]]] = {}
        self.turns: list[Turn] = []
        self.free_pid = tree.free_pid()  # for the opener, where it is a process of its own
        self._spaces: dict[str, int] = {}  # the numbers that were promised for namespaces
        self._built: dict[str, int] = {}
        self.entered: dict[tuple[str, int], int] = {}  # descriptors of namespaces, where the tree has its own
        # in user namespaces: who gives tasks there our files; numbers that these have here, and their pids
        self.proxies: dict[int, tuple[int, int]] = {}
        self.mounts: Restored | None = None  # those of the tree's own mount namespaces
        self.resize: Callable[[int, int], None] = resize_pipe
        self.given: Given | None = None  # by the user, instead of what was dumped
        self._remaps = tree.remaps
        self._names: Names | None = None
        self._proc = 0  # the number of /proc, once it was promised
        if tree.remaps:  # now: in the tree's namespaces nothing can be imported
            from engine.files.remap import Names

            self._names = Names(self, tree.remaps)
        validation.prepare(self.files.values())
        self._memfds = tree.memfds
        self._kinds: dict[int, ModuleType] = {}
        self._locks = tree.locks
        self._states: dict[ModuleType, Any] = {}
        self._next = _FIRST + self._room()
        self._wanted: dict[tuple[int, int | None], int] = {}  # the numbers that were promised
        self._fds: dict[object, int] = {}  # what is open

    def _room(self) -> int:
        """How many numbers are left for what is open for a moment: as many as there are files, if there are so many."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        spare = len(self.files) // 4 + _FIRST  # images, mapped files, ghosts
        return max(0, min(len(self.files), most - _FIRST - len(self.files) - spare))

    def file(self, ident: int, flags: int | None = None) -> int:
        """The number that a file will have; BadImage for an id that files.img lacks.

        With `flags` (of open(2)) it is another description of the same file, as mappings need it.
        """
        if flags is not None and ident in self.files and self.files[ident].type == kinds.SECRETMEM:
            flags = None  # there is no other description
        if flags is not None and self._locks:
            entry = self.files.get(ident)
            if entry is not None and (leased := self._locks.alias(entry, flags)) != ident:
                ident, flags = leased, None
        key = (ident, flags)
        if key not in self._wanted:
            self.kind(ident)
            self._wanted[key] = self._number()
        return self._wanted[key]

    def readable(self, ident: int) -> int:
        """The number of a file as a program: CRIU's images may have an entry for it that is a mere path's."""
        entry = self.files.get(ident)
        is_path = entry is not None and entry.type == kinds.REG and entry.reg.flags & os.O_PATH
        return self.file(ident, os.O_RDONLY if is_path else None)

    def kind(self, ident: int) -> ModuleType:
        """The module for a file; BadImage if there is none, or no such file."""
        known = self._kinds.get(ident)
        if known is not None:
            return known
        entry = self.files.get(ident)
        if entry is None:
            raise BadImage(self.image, 0, f"file {ident:#x} is used by the task but is not in it; dump again")
        kind = kinds.by_type(entry.type)
        if kind is None:
            raise BadImage(self.image, 0, f"file {ident:#x} has type {entry.type}")
        self._kinds[ident] = kind
        return kind

    def proc(self) -> int:
        """The number of a descriptor of the directory /proc."""
        if not self._proc:
            self._proc = self._number()
        return self._proc

    def raw(self, kind: str, ident: int) -> int:
        """A descriptor of a raw image, open already."""
        key = f"{kind}-{ident}"
        if key not in self._fds:
            self._fds[key] = self._put(self.images.open_raw(kind, ident), self._number())
        return self._fds[key]

    def namespace(self, kind: str, ident: int) -> int:
        """The number that a descriptor of a namespace will have."""
        key = f"{kind} namespace {ident}"
        if key not in self._spaces:
            self._spaces[key] = self._number()
        return self._spaces[key]

    def promise(self) -> int:
        """A number that nothing else has."""
        return self._number()

    def built(self, what: str) -> int:
        """The number that something will have that is made with the mounts."""
        if what not in self._built:
            self._built[what] = self._number()
        return self._built[what]

    def namespace_fd(self, kind: str, ident: int) -> int:
        """A descriptor of a namespace, now; BadImage for one that there is none of."""
        fd = self.entered.get((kind, ident))
        if fd is None:
            raise BadImage(self.image, 0, f"{kind} namespace {ident}: no task of the tree is in it; dump again")
        return fd

    def name(self, ident: int) -> str:
        """The path of a file, for descriptions."""
        entry = self.files.get(ident)
        if entry is not None and entry.type == kinds.MEMFD and self._memfds:
            return self._memfds.name(entry)
        return text(entry.reg.name) if entry is not None and entry.HasField("reg") else f"file {ident:#x}"

    def open_all(self) -> None:
        """Open whatever has a number; EngineError for what cannot be.

        First what has a name: what has none gets one for a while.
        """
        if self.given and self._memfds:
            self._memfds.adopt(self.given)
        if self._proc:
            self._fds["proc"] = self._put(self.open("/proc", os.O_RDONLY | os.O_DIRECTORY), self._proc)
        for (kind, ident), fd in self.entered.items():
            if number := self._spaces.get(f"{kind} namespace {ident}"):
                self._fds[f"{kind} namespace {ident}"] = self._put(os.dup(fd), number)
        for what, number in self._built.items():
            if self.mounts:
                self._fds[what] = self._put(self.mounts.built.pop(what), number)
        names = self._names
        todo = list(self._wanted.items())
        if names:
            todo.sort(key=lambda one: names.has(one[0][0]))
        try:
            self._open_many()
            for key, number in todo:
                if key not in self._fds and not self._waits(key[0]):
                    self._make(key, number)
            if names:
                names.settle()
        except BaseException:
            if names:
                names.close()
            raise
        if self.given:
            self.given.leftover()

    def _open_many(self) -> None:
        """What kinds can open many of in a call."""
        for kind in dict.fromkeys(self._kinds.values()):
            where = kind if hasattr(kind, "open_many") else getattr(kind, "Objects", None)
            if hasattr(where, "open_many"):
                where = kind if where is kind else self._state(kind)
                for key in where.open_many(self._wanted, self):
                    self._fds[key] = self._wanted[key]

    def _state(self, kind: ModuleType) -> Any:
        if kind not in self._states:
            self._states[kind] = kind.Objects(self)
        return self._states[kind]

    def is_nameless(self, ident: int) -> bool:
        """Does the name of a file not lead there?"""
        return self._names is not None and self._names.has(ident)

    def open_waiting(self) -> None:
        """The rest: files on mounts that have come after the tasks."""
        for key, number in list(self._wanted.items()):
            if key not in self._fds:
                self._make(key, number)

    def _waits(self, ident: int) -> bool:
        entry = self.files[ident]
        return self.mounts is not None and entry.HasField("reg") and self.mounts.waits(entry.reg.mnt_id)

    def _make(self, key: tuple[int, int | None], number: int) -> None:
        ident, flags = key
        entry, kind = self.files[ident], self.kind(ident)
        if self._memfds and entry.type == kinds.MEMFD:
            self._fds[key] = self._put(self._memfds.open(entry, flags, self.links), number)
        elif hasattr(kind, "Objects"):
            for made, fd in self._state(kind).make(entry, flags).items():
                other = (made, flags)
                self._fds[other] = self._put(fd, self._wanted.get(other) or self._number())
        else:
            self._fds[key] = self._put(kind.open_again(entry, self, flags), number)

    def open(self, name: str, flags: int, mnt_id: int = _NO_MOUNT) -> int:
        """open(2) of a name as the tree sees it, in the namespace of a mount of the images; OSError.

        It is close-on-exec.
        """
        if self.mounts and (mnt_id, name) in self.mounts.covered:
            fd = self.mounts.covered[mnt_id, name]
            # The very file of a mount that is in no namespace is what keeps it a mount (open_tree(2)).
            is_tree = flags & (os.O_PATH | os.O_DIRECTORY) == os.O_PATH and (mnt_id, name) in self.mounts.trees
            return os.dup(fd) if is_tree else self.links.open(fd, flags & ~os.O_NOFOLLOW)
        root = self.mounts.elsewhere(mnt_id) if self.mounts else None
        return os.open(name, flags | O_CLOEXEC) if root is None else open_in(root, name, flags)

    def on_mounts(self) -> list[tuple[int, str]]:
        """The files whose mount the images tell: its id, and their names; of those without, their directories'."""
        found = [(e.id, e.reg.mnt_id, text(e.reg.name)) for e in self.files.values() if e.reg.HasField("mnt_id")]
        nameless = {remap.orig_id for remap in self._remaps}
        return [(mnt_id, os.path.dirname(name) if ident in nameless else name) for ident, mnt_id, name in found]

    def on_no_mounts(self) -> list[Any]:
        """The reg_file_entries of files on mounts that were in no namespace."""
        return [e.reg for e in self.files.values() if e.reg.HasField("detached_root")]

    def parent(self, name: str, mnt_id: int = _NO_MOUNT) -> tuple[int, str]:
        """The directory that a name is in, for what is made, linked or removed there, and its last component; OSError.

        The descriptor stays ours.
        """
        above, _, last = name.rpartition("/")
        key = ("directory", above, self.mounts.elsewhere(mnt_id) if self.mounts else None)
        if key not in self._fds:
            fd = self.open(above or "/", os.O_PATH | os.O_DIRECTORY, mnt_id)
            self._fds[key] = self._put(fd, self._number())
        return self._fds[key], last

    def ghost(self, entry: Any) -> int:
        """A descriptor (O_PATH) of what a file_entry stands for whose name does not lead there; -1 if it does."""
        names = self._names
        return names.path(entry) if names and names.has(entry.id) else -1

    def open_nameless(self, entry: Any, flags: int) -> int:
        """Open what a file_entry stands for whose name does not lead there; -1 if it does. OSError."""
        names = self._names
        return names.open(entry, flags) if names and names.has(entry.id) else -1

    def hold(self, fd: int) -> int:
        """Move a descriptor to a number where it is in nobody's way, until all is closed; returns that."""
        number = self._number()
        self._fds[("held", number)] = self._put(fd, number)
        return number

    def give(self, number: int) -> int:
        """What was held is the caller's again."""
        return int(self._fds.pop(("held", number)))

    def accept(self, given: Given) -> None:
        """What the user gives; descriptors of ours have other numbers than his."""
        self.given = given
        self._next = max(self._next, given.above())

    def inherited(self, key: str, kind: int) -> int:
        """What --inherit-fd gives for a key, -1 for nothing; EngineError if its S_IFMT is not `kind` (0: any)."""
        return self.given.fd(key, kind) if self.given else -1

    def prepare(self, ids: Ids) -> None:
        """What cannot be done in the user namespace any more, whose `ids` these are."""
        if self._memfds:
            self._memfds.make_anonymous(ids)

    def ghost_of(self, dev: int, ino: int) -> int:
        """The id of the file whose ghost was this inode at the dump, 0 if none was."""
        for remap in self._remaps:
            if remap.remap_type == kinds.GHOST:
                entry = self.images.read_spans("GHOST_FILE", remap.remap_id)[0][0]
                if (entry.dev, entry.ino) == (dev, ino):
                    return int(remap.orig_id)
        return 0

    def settle(self) -> None:
        """The tasks have taken and mapped what is theirs: what had to wait for that.

        Kinds that watch files come last: what they watch is closed before, and nothing is opened any more.
        """
        if self._memfds:
            self._memfds.seal()
        if self._names:
            self._names.done()
        watching = [state for state in self._states.values() if hasattr(state, "settle")]
        kept = {ident for state in watching for ident in state.keeps()}
        files = [key for key in self._fds if isinstance(key, tuple) and isinstance(key[0], int) and watching]
        for key in files:
            if key[0] not in kept:
                os.close(self._fds.pop(key))
        for state in watching:
            state.settle()

    def descriptor(self, ident: int) -> int:
        """The open descriptor of a file; BadImage for an id that files.img lacks."""
        key = (ident, None)
        if key not in self._fds:
            self.file(ident)
            self._make(key, self._wanted[key])
        return self._fds[key]

    def close(self) -> None:
        """Close everything; the tasks have theirs."""
        if self._names:
            self._names.close()
        if self._memfds:
            self._memfds.close()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        if self.given:
            self.given.close()

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _put(self, fd: int, number: int) -> int:
        """Move a descriptor of ours to its number."""
        if fd != number:
            try:
                os.dup2(fd, number, inheritable=False)
            finally:
                os.close(fd)
        return number

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for state in self._states.values():  # the restore has failed: what has a name in the system goes
            if hasattr(state, "undo"):
                state.undo()
        self.close()
        self.links.close()
