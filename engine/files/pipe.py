"""Pipes (pipe(7)): one object with any number of ends; each struct file of an end is an entry, and all name the pipe.

An end that is held outside of the tree is said in a warning, and in the images: a restore has to be given such a pipe
(--inherit-fd fd[N]:pipe:[INODE]).
"""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError, KernelError
from engine.files import ends
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import files, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.pipe_data import Contents
    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 2  # fd_types.PIPE
_LARGEFILE = 0o100000  # the kernel's, of every open(2): an end that pipe(2) made lacks it
_MODE = 0o600
_NONE = -1
_IMAGE = "files.img"


def check(d: Descriptor, scope: Scope) -> None:
    """There is no end that cannot be dumped."""


def dump(entry: Any, d: Descriptor, table: FileTable) -> None:
    """Fill a file_entry; the pipe's number is its inode's."""
    entry.type = TYPE
    pipe = entry.pipe
    pipe.id = entry.id
    pipe.pipe_id = d.ino
    pipe.flags = d.flags & ~O_CLOEXEC
    if d.uid or d.gid:
        pipe.uid, pipe.gid = table.scope.uid(d.uid), table.scope.gid(d.gid)
    if stat.S_IMODE(d.mode) != _MODE:
        pipe.mode = stat.S_IMODE(d.mode)


def _plain_ends(pipes: list[Any]) -> tuple[Any, Any]:
    """The pipe_entries of the ends to read and to write by, None for none or for one that has to be made apart."""
    out: dict[int, Any] = {}
    for pipe in pipes:
        is_odd = pipe.flags & (_LARGEFILE | os.O_PATH) or pipe.uid or pipe.gid or pipe.HasField("mode")
        if not is_odd:
            out[pipe.flags & os.O_ACCMODE] = pipe
    return out.get(os.O_RDONLY), out.get(os.O_WRONLY)


class Survey(ends.Survey):
    """All pipes of a tree."""

    def blockers(self, pids: set[int]) -> list[str]:
        """There are none: an end outside of the tree is for the restore to be given."""
        return []

    def write(self, images: Images, message: Any) -> None:
        """Write what waits in them, while the tree is frozen."""
        for d, its in self.look_outside():
            if self.scope.has_mounts and f"pipe_ino={d.stat.st_ino}" in proc.mountinfo(d.pid):
                continue  # an autofs: it comes back with that
            which = "reading" if its.outside == ends.READING else "writing"
            self.scope.log.warn(
                f"{d}: its {which} end is held outside of the tree: to restore, give --inherit-fd fd[N]:{d.link}"
            )
        super().write(images, message)


class Objects:
    """The pipes of images, made one by one: the first use of any end makes all."""

    __slots__ = ("_contents", "_ends", "_opener")

    def __init__(self, opener: Opener) -> None:
        images = opener.images
        self._opener = opener
        self._ends: dict[int, list[Any]] = {}
        for ident, entry in opener.files.items():
            if entry.type == TYPE:
                if not entry.HasField("pipe"):
                    raise BadImage(_IMAGE, 0, f"file {ident:#x} is a pipe without a pipe_entry")
                self._ends.setdefault(entry.pipe.pipe_id, []).append(entry)
        self._contents: Contents | None = None
        if images.exists("PIPES_DATA"):
            from engine.files.pipe_data import Contents

            self._contents = Contents(images, "PIPES_DATA")
            self._contents.check(set(self._ends))

    def make(self, first_entry: Any, flags: int | None) -> dict[int, int]:
        """All struct files of a pipe, file id -> descriptor. An end that none of them is, is closed."""
        pipe_id = first_entry.pipe.pipe_id
        if flags is not None:
            what = f"file {first_entry.id:#x} is a pipe, and used like one with a path; dump again"
            raise BadImage(_IMAGE, 0, what)
        out: dict[int, int] = {}
        try:
            inherited = self._opener.inherited(f"pipe:[{pipe_id}]", stat.S_IFIFO)
            if inherited >= 0:
                self._reopen(pipe_id, inherited, out)
            else:
                self._make(pipe_id, out)
            for entry in self._ends[pipe_id]:
                ends.settle(out[entry.id], entry.pipe.flags, f"file {entry.id:#x} of {_IMAGE}")
        except BaseException as e:
            for fd in out.values():
                os.close(fd)
            if isinstance(e, OSError):
                raise KernelError(f"making pipe {pipe_id:#x} of {_IMAGE}", e.errno or 0) from e
            raise
        return out

    def open_many(self, wanted: dict[tuple[int, int | None], int], opener: Opener) -> list[tuple[int, int | None]]:
        """Make all that nothing is special about, their ends with the numbers that they are to have; these ends.

        What cannot be made so is for `make`, which says why.
        """
        if opener.given or opener.mounts:
            return []
        keys, plain = [], []
        for pipe_id, entries in self._ends.items():
            contents = self._contents.plain(pipe_id) if self._contents else (0, 0, 0)
            both = _plain_ends([entry.pipe for entry in entries])
            numbers = [wanted.get((pipe.id, None), _NONE) if pipe else _NONE for pipe in both]
            if contents and len(entries) == sum(number != _NONE for number in numbers):
                flags = tuple(pipe.flags & ends.SETTABLE if pipe else 0 for pipe in both)
                plain.append((*contents, tuple(numbers), flags))
                keys.append([(pipe.id, None) for pipe in both if pipe])
        view = self._contents.mapped() if self._contents and plain else None
        made = files.pipe_many(view, plain)
        return [key for its, done in zip(keys, made, strict=True) if done for key in its]

    def _make(self, pipe_id: int, out: dict[int, int]) -> None:
        ready = self._opener.mounts.pipes.pop(pipe_id, None) if self._opener.mounts else None
        if self._contents and not ready and (lacks := self._contents.lacks(pipe_id)):
            which = "reading" if lacks == ends.READING else "writing"
            raise EngineError(
                f"the {which} end of pipe:[{pipe_id}] was held outside of the tree: "
                f"give a pipe with --inherit-fd fd[N]:pipe:[{pipe_id}]"
            )
        first = dict(zip((os.O_RDONLY, os.O_WRONLY), ready or os.pipe2(O_CLOEXEC), strict=True))
        end = first[os.O_RDONLY]
        try:
            if self._contents:
                self._contents.fill(pipe_id, first[os.O_WRONLY], self._opener.resize)
            for entry in self._ends[pipe_id]:
                pipe = entry.pipe
                if pipe.uid or pipe.gid:
                    self._opener.links.chown(end, pipe.uid, pipe.gid)
                if pipe.HasField("mode"):
                    self._opener.links.chmod(end, pipe.mode)
                mode = pipe.flags & os.O_ACCMODE
                if pipe.flags & (_LARGEFILE | os.O_PATH) or mode not in first:
                    out[entry.id] = ends.open_end(end, pipe.flags, self._opener.links)
                else:
                    out[entry.id] = first.pop(mode)
        finally:
            for fd in first.values():
                os.close(fd)

    def _reopen(self, pipe_id: int, inherited: int, out: dict[int, int]) -> None:
        """Each end of one that was given: it keeps its contents and its size."""
        given = self._opener.given
        if given and self._contents and (waiting := self._contents.size(pipe_id)):
            given.log.warn(f"pipe:[{pipe_id}] is given: {waiting} bytes that were in the old one are left out")
        for entry in self._ends[pipe_id]:
            out[entry.id] = ends.open_given(inherited, entry.pipe.flags, self._opener.links)
