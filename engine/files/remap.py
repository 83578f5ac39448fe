"""Open files that their names do not lead to (remap-fpath.img): which there are, and names for a while at restore.

A file whose last name is gone is a ghost: the image has all of it (engine/files/ghost.py). One that has another name is
linked to a new one until it is restored (engine/files/linked.py), if --link-remap permits. Restored, both have the
name again that they were opened by, where that is free, until everything is open: whoever asks the kernel is told the
same `NAME (deleted)` as before.
"""

from __future__ import annotations

import os
import stat

from engine.blocks import suppress
from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files import ghost, linked
from engine.files.fd import DELETED, O_CLOEXEC, O_TMPFILE, shown
from engine.files.kinds import GHOST, LINKED, PROCFS
from engine.images.schema import text
from engine.kernel import mounts, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

_DEV = "/dev"
_PATH = os.O_PATH | os.O_NOFOLLOW | O_CLOEXEC
_IMAGE = "remap-fpath.img"
_SILLY_DIGITS = 24  # behind ".nfs": a file's number and a counter


def find(pid: int, name: str, st: os.stat_result, what: object, scope: Scope) -> tuple[int | None, str]:
    """(remap_type, the name that it had); None for a name that leads there after all. Unsupported if nothing helps."""
    here = scope.stat(pid, name, False)
    if here is not None and (here.st_dev, here.st_ino) == (st.st_dev, st.st_ino):
        if is_silly(name) and _is_nfs(pid, st):
            ghost.check(name, st, what, scope.options.ghost_limit)
            return GHOST, name
        return None, name
    plain = name.removesuffix(DELETED)
    is_directory = stat.S_ISDIR(st.st_mode)
    if not st.st_nlink or (is_directory and plain != name):  # not every file system counts a directory's links
        ghost.check(plain, st, what, scope.options.ghost_limit)
        return GHOST, plain
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        if scope.options.evasive_devices and (node := _other_node(pid, st, scope)):
            return None, node
        raise Unsupported(
            [f"{what}: {shown(plain)}: the device's node is gone, or another: use --evasive-devices if /dev has one"]
        )
    if plain == name:
        raise Unsupported(
            [f"{what}: {shown(name)}: its name leads elsewhere: a mount hides it, or it was replaced; undo that first"]
        )
    linked.check(pid, plain, st, what, scope)
    return LINKED, plain


def is_silly(name: str) -> bool:
    """Is it what NFS calls a file that was deleted while it was open? Its client removes it when that is closed."""
    last = name.rpartition("/")[2]
    digits = last.removeprefix(".nfs")
    return digits != last and len(digits) == _SILLY_DIGITS and not digits.strip("0123456789abcdef")


def _is_nfs(pid: int, st: os.stat_result) -> bool:
    device = f"{os.major(st.st_dev)}:{os.minor(st.st_dev)}"
    lines = proc.mountinfo(pid).splitlines()
    return any(
        line.split(" ", 3)[2] == device and line.partition(" - ")[2].startswith(("nfs ", "nfs4 ")) for line in lines
    )


def _other_node(pid: int, st: os.stat_result, scope: Scope) -> str:
    """A node of the same device below /dev, as the task sees it; "" for none."""
    for at, _, names in os.walk(_DEV):
        for name in names:
            node = f"{at}/{name}"
            with suppress(OSError):
                other = scope.stat(pid, node, False)
                same_kind = other is not None and stat.S_IFMT(other.st_mode) == stat.S_IFMT(st.st_mode)
                if other is not None and same_kind and other.st_rdev == st.st_rdev:
                    return node
    return ""


class Remaps:
    """Those of a dump."""

    __slots__ = ("_entries", "_files", "_ghosts", "_links")

    def __init__(self, files: FileTable) -> None:
        self._files = files
        self._entries: list[Any] = []
        self._ghosts = ghost.Ghosts(files.message, files.scope)
        self._links = linked.Links(files)

    def add(self, entry: Any, how: int, where: str, st: os.stat_result) -> None:
        """A file_entry with its name, and what the link `where` of procfs leads to."""
        name = text(entry.reg.name)
        if how == GHOST:
            remap = self._ghosts.add(where, st)
        elif how == LINKED:
            remap = self._links.add(where, name, st)
        else:
            from engine.files import procfs

            remap = procfs.task_of(name)
        self._entries.append(
            self._files.message("remap_file_path_entry")(orig_id=entry.id, remap_id=remap, remap_type=how)
        )

    def write(self, images: Images) -> None:
        """Write remap-fpath.img and the ghosts, while nobody can write to them."""
        images.write("REMAP_FPATH", (), self._entries)
        self._ghosts.write(images)

    def keep(self) -> None:
        """The links that were made are a restore's."""
        self._links.keep()

    def close(self) -> None:
        """Let go of ghosts; remove links that are not kept."""
        self._ghosts.close()
        self._links.close()


class Place:
    """A name at restore: a directory and the last component, a descriptor (O_PATH) of what it leads to.

    `made_in` is the same directory, by a mount that can be written to.
    """

    __slots__ = ("directory", "fd", "made_in", "name", "unnamed")

    def __init__(self, directory: int, made_in: int, name: str) -> None:
        self.directory = directory
        self.made_in = made_in
        self.name = name
        self.fd = -1
        self.unnamed = -1  # what O_TMPFILE has made, until it is taken


class Names:
    """The names of a restore. Files are known by their file_entry."""

    __slots__ = (
        "_directories",
        "_first",
        "_made",
        "_mnt_id",
        "_opener",
        "_places",
        "_remaps",
        "_sources",
        "_times",
        "_writables",
    )

    def __init__(self, opener: Opener, remaps: list[Any]) -> None:
        self._opener = opener
        self._mnt_id = -1  # of what is being made
        self._remaps = {r.orig_id: r for r in remaps if r.remap_type != PROCFS}
        self._places: dict[tuple[int, int, str], Place] = {}
        self._first: dict[tuple[int, int], Place] = {}
        self._directories: dict[str, int] = {}  # those that were made: names, descriptors
        self._made: list[tuple[int, str, bool]] = []  # directory, name, is it one itself?
        self._writables: dict[int, int] = {}  # by the directory that is on a read-only mount
        self._times: list[tuple[int, Any]] = []
        self._sources: dict[int, tuple[int, str]] = {}  # where links are that the dump has made

    def has(self, ident: int) -> bool:
        """Does the file need a name?"""
        return ident in self._remaps

    def path(self, entry: Any) -> int:
        """An O_PATH descriptor of what a file_entry stands for."""
        return self._place(entry).fd

    def open(self, entry: Any, flags: int) -> int:
        """Open it; OSError."""
        place = self._place(entry)
        if entry.reg.flags & O_TMPFILE and flags == entry.reg.flags and place.unnamed >= 0:
            fd, place.unnamed = place.unnamed, -1
            return self._opener.give(fd)
        if flags & O_TMPFILE:
            flags &= ~os.O_TMPFILE
        if not flags & os.O_NOFOLLOW:
            return self._opener.links.open(place.fd, flags)
        fd = os.open(place.name, flags | O_CLOEXEC, dir_fd=place.directory)
        if not os.path.samestat(os.fstat(fd), os.fstat(place.fd)):
            os.close(fd)
            raise EngineError(f"{shown(text(entry.reg.name))} was replaced while it was restored; restore again")
        return fd

    def _place(self, entry: Any) -> Place:
        if not self._places:
            self._make_all()
        remap = self._remaps[entry.id]
        return self._places[remap.remap_type, remap.remap_id, text(entry.reg.name)]

    def _make_all(self) -> None:
        """Directories come before what is in them; their names say so."""
        wanted: dict[tuple[int, int, str], Any] = {}
        for ident, remap in self._remaps.items():
            entry = self._opener.files.get(ident)
            if entry is None or not entry.HasField("reg"):
                raise BadImage(_IMAGE, 0, f"file {ident:#x} is not in {self._opener.image}; dump again")
            key = (remap.remap_type, remap.remap_id, text(entry.reg.name))
            if key not in wanted or entry.reg.flags & O_TMPFILE:
                wanted[key] = entry
        for kind, number, name in sorted(wanted, key=lambda key: key[2]):
            entry = wanted[kind, number, name]
            try:
                self._places[kind, number, name] = self._make(kind, number, name, entry)
            except OSError as e:
                what = self._opener.images.name("GHOST_FILE", number) if kind == GHOST else _IMAGE
                raise EngineError(
                    f"cannot make {shown(name)} again, which was in use without a name ({what}): {e.strerror}"
                ) from e

    def _make(self, kind: int, number: int, name: str, entry: Any) -> Place:
        self._mnt_id = entry.reg.mnt_id
        directory, last = self._parent(name)
        place = Place(directory, self._writable(directory, name), last)
        first = self._first.get((kind, number))
        if first is not None:
            self._link((first.made_in, first.name), place, os.fstat(first.fd), number)
        elif kind == LINKED:
            source = self._source(number, entry)
            self._link(source, place, os.stat(source[1], dir_fd=source[0], follow_symlinks=False), number)
        else:
            self._make_ghost(number, place, entry)
        if place.fd < 0:
            place.fd = self._opener.hold(os.open(place.name, _PATH, dir_fd=place.directory))
        if stat.S_ISDIR(os.fstat(place.fd).st_mode):
            self._directories[name] = place.fd
        return self._first.setdefault((kind, number), place) if first is None else place

    def _make_ghost(self, number: int, place: Place, entry: Any) -> None:
        made = ghost.Object(self._opener.images, number)
        if entry.reg.flags & O_TMPFILE and self._unnamed(place, entry):
            fd = place.fd
        else:
            try:
                made.make(place.made_in, place.name)
            except FileExistsError:
                place.name = f"{place.name}.cr.{number:x}.ghost"
                made.make(place.made_in, place.name)
            self._made.append((place.made_in, place.name, made.is_directory))
            fd = self._opener.hold(os.open(place.name, _PATH, dir_fd=place.made_in))
        made.fill(fd, self._opener.links)
        self._times.append((fd, made.entry))

    def _unnamed(self, place: Place, entry: Any) -> bool:
        """A file without a name from the first, which may be given one: O_TMPFILE of open(2)."""
        flags = entry.reg.flags & ~os.O_EXCL
        try:
            fd = os.open(".", flags | O_CLOEXEC, 0o600, dir_fd=place.directory)  # on a read-only mount there was none
        except OSError:
            return False  # a file system that has none of these
        place.unnamed = self._opener.hold(fd)
        place.fd = self._opener.hold(self._opener.links.open(place.unnamed, os.O_PATH))
        return True

    def _link(self, source: tuple[int, str], place: Place, st: os.stat_result, number: int) -> None:
        """One more name; there may be one already, by another mount of the same directory."""
        for name in (place.name, f"{place.name}.cr.{number:x}.ghost"):
            try:
                os.link(source[1], name, src_dir_fd=source[0], dst_dir_fd=place.made_in, follow_symlinks=False)
            except OSError:
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(name, dir_fd=place.directory, follow_symlinks=False), st):
                        place.name = name
                        return
                if name != place.name or not _is_there(place.directory, name):
                    raise
            else:
                place.name = name
                self._made.append((place.made_in, name, False))
                return

    def _source(self, ident: int, remapped: Any) -> tuple[int, str]:
        if ident not in self._sources:
            entry = self._opener.files.get(ident)
            if entry is None or not entry.HasField("reg"):
                raise BadImage(_IMAGE, 0, f"file {ident:#x} is not in {self._opener.image}; dump again")
            name = text(entry.reg.name)
            try:
                # CRIU does not say on which mount it is: on that of the file.
                self._mnt_id = entry.reg.mnt_id if entry.reg.HasField("mnt_id") else remapped.reg.mnt_id
                directory, last = self._opener.parent(name, self._mnt_id)
                os.stat(last, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                raise EngineError(
                    f"{shown(name)}, a link that the dump has made (--link-remap), is gone: it is removed by the first "
                    "restore, and by a dump with --leave-running; link the file to that name again"
                ) from None
            self._sources[ident] = self._writable(directory, name), last
        return self._sources[ident]

    def _parent(self, name: str) -> tuple[int, str]:
        """The directory for a name; what was removed of it is made, for a while."""
        above, _, last = name.rpartition("/")
        if above in self._directories:
            return self._directories[above], last
        try:
            return self._opener.parent(name, self._mnt_id)
        except (FileNotFoundError, NotADirectoryError):
            if not above:
                raise
        directory, middle = self._parent(above)
        made_in = self._writable(directory, above)
        os.mkdir(middle, 0o700, dir_fd=made_in)
        self._made.append((made_in, middle, True))
        self._directories[above] = self._opener.hold(os.open(middle, _PATH | os.O_DIRECTORY, dir_fd=directory))
        return self._directories[above], last

    def _writable(self, directory: int, name: str) -> int:
        """The directory that a name is in, by a mount that can be written to, and that no namespace has on its own.

        The kernel links within a mount only: of a file system in several mounts it is the same one for all names.
        """
        if directory not in self._writables:
            its = self._opener.mounts
            other = its.directory(self._mnt_id, name.rpartition("/")[0] or "/", directory) if its else -1
            if other < 0:
                other = self._clone(directory)
            self._writables[directory] = directory if other < 0 else self._opener.hold(other)
        return self._writables[directory]

    def _clone(self, directory: int) -> int:
        """Where a directory is read-only another mount of it, attached nowhere; else -1."""
        if not os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            return -1
        with suppress(KernelError):  # then making something says that it is read-only
            clone = mounts.clone(directory)
            mounts.set_flags(clone, 0)
            return clone
        return -1

    def settle(self) -> None:
        """Everything is open: away with the names; times are as they were."""
        self._remove()
        for fd, entry in self._times:
            ghost.set_times(fd, entry, self._opener.links)
        self._times.clear()

    def done(self) -> None:
        """The restore has succeeded: away with the links that the dump has made."""
        for directory, name in self._sources.values():
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        self._sources.clear()

    def close(self) -> None:
        """A restore that failed leaves no name."""
        with suppress(EngineError):
            self._remove()

    def _remove(self) -> None:
        failed = ""
        while self._made:
            directory, name, is_directory = self._made.pop()
            try:
                (os.rmdir if is_directory else os.unlink)(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            except OSError as e:
                failed = failed or f"cannot remove {shown(name)} again, which was in use without a name: {e.strerror}"
        if failed:
            raise EngineError(failed)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True
