"""FIFOs (fifo(7)): pipes that have a name; each struct file of an end is an entry, its name and flags are a reg_entry.

A read end that was opened without waiting, before any writer, is told of no hang-up by poll(2) until one has come and
gone; others are as soon as there is no writer. The two are restored as what they were.
"""

from __future__ import annotations

import os
import stat
import sys

from engine.errors import BadImage, EngineError, KernelError
from engine.files import ends, owner, regular
from engine.files.fd import Descriptor
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any

    from engine.files.pipe_data import Contents
    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 3  # fd_types.FIFO
_IMAGE = "files.img"
_POLLHUP = 16
_U32 = 0xFFFFFFFF


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for one without a name that leads to it."""
    regular.check(d, scope)


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry, and one more for its name."""
    survey = files.survey.of(sys.modules[__name__])
    regf = files.new()
    regular.dump(regf, d, files)
    owner.dump(regf, d.owner, files.scope)
    entry.type = TYPE
    entry.fifo.id = entry.id
    entry.fifo.pipe_id = survey.number(survey.key(d))
    entry.fifo.regf_id = regf.id
    if d.flags & (os.O_ACCMODE | os.O_PATH) == os.O_RDONLY:
        survey.readers.append((d, entry))


class Survey(ends.Survey):
    """All FIFOs of a tree."""

    __slots__ = ("_numbers", "readers")
    IMAGE = "FIFO_DATA"

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.readers: list[tuple[Descriptor, Any]] = []
        self._numbers: dict[Hashable, int] = {}

    def key(self, d: Descriptor) -> Hashable:
        """By its file system too."""
        return d.stat.st_dev, d.stat.st_ino

    def number(self, key: Any) -> int:
        """Its inode's, unless another FIFO's is the same, or has as many low bits."""
        if key not in self._numbers:
            number = key[1] & _U32
            while number in self._numbers.values():
                number = (number + 1) & _U32
            self._numbers[key] = number
        return self._numbers[key]

    def is_open(self, d: Descriptor) -> bool:
        """Has anybody an end of the other kind? No hang-up may just mean that no writer has been there."""
        if not super().is_open(d):
            return False
        if d.flags & os.O_ACCMODE != os.O_RDONLY:
            return True
        from engine.files import pipe_data

        has_writer = pipe_data.has_writer(d)
        return bool(ends.holder(d, ends.WRITING, set())) if has_writer is None else has_writer

    def blockers(self, pids: set[int]) -> list[str]:
        """The ends that are held outside of the tree, one line each; `pids` are the tree's."""
        out = []
        for d, its in self.look_outside():
            which = "reading" if its.outside == ends.READING else "writing"
            who = ends.holder(d, its.outside, pids)
            if not who and not self.scope.frozen:
                continue  # nobody has it, or the tree itself by now: what it has when it is frozen counts
            who = who or "by nobody to be seen"
            mount, inode = d.mnt_id, d.stat.st_ino
            out.append(
                f"{d}: its {which} end is held {who}, outside of the tree: dump both together, close it first, "
                f"or have the restore take another one with --external file[{mount:x}:{inode:x}]"
            )
        return out

    def write(self, images: Images, message: Any) -> None:
        """Write what waits in them, while the tree is frozen; and which read ends are not told of a hang-up."""
        for d, entry in self.readers:
            if self.ends[self.key(d)].writer is None and not (ends.events_of(d) or 0) & _POLLHUP:
                entry.fifo.no_hangup = True
        super().write(images, message)


class Objects:
    """The FIFOs of images: the first use of any end makes all."""

    __slots__ = ("_contents", "_ends", "_opener")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._ends: dict[int, list[Any]] = {}
        for ident, entry in opener.files.items():
            if entry.type == TYPE:
                if not entry.HasField("fifo"):
                    raise BadImage(_IMAGE, 0, f"file {ident:#x} is a FIFO without a fifo_entry")
                self._name_of(entry)
                self._ends.setdefault(entry.fifo.pipe_id, []).append(entry)
        self._contents: Contents | None = None
        if opener.images.exists("FIFO_DATA"):
            from engine.files.pipe_data import Contents

            self._contents = Contents(opener.images, "FIFO_DATA")
            self._contents.check(set(self._ends))

    def _name_of(self, entry: Any) -> Any:
        """The reg_entry with name and flags."""
        ident = entry.fifo.regf_id if entry.fifo.HasField("regf_id") else entry.id  # so it was before CRIU 2.0
        regf = self._opener.files.get(ident)
        if regf is None or not regf.HasField("reg"):
            raise BadImage(_IMAGE, 0, f"file {entry.id:#x} is a FIFO whose name, file {ident:#x}, is not in it")
        return regf

    def make(self, first_entry: Any, flags: int | None) -> dict[int, int]:
        """All struct files of a FIFO, file id -> descriptor."""
        if flags is not None:
            raise BadImage(_IMAGE, 0, f"file {first_entry.id:#x} is a FIFO, and used to be mapped; dump again")
        pipe_id = first_entry.fifo.pipe_id
        out: dict[int, int] = {}
        path = text(self._name_of(first_entry).reg.name)
        try:
            given = self._opener.inherited(path, stat.S_IFIFO)
            if given >= 0:
                for entry in self._ends[pipe_id]:
                    out[entry.id] = ends.open_given(given, self._name_of(entry).reg.flags, self._opener.links)
            else:
                self._make(pipe_id, out)
            for entry in self._ends[pipe_id]:
                ends.settle(out[entry.id], self._name_of(entry).reg.flags, f"file {entry.id:#x} ({path})")
        except BaseException as e:
            for fd in out.values():
                os.close(fd)
            if isinstance(e, OSError):
                raise KernelError(f"opening the FIFO {path} again (file {first_entry.id:#x})", e.errno or 0) from e
            raise
        return out

    def _make(self, pipe_id: int, out: dict[int, int]) -> None:
        """First for both, so that no end waits for the other; what is told of no hang-up, when that one is closed."""
        its = [(entry, self._name_of(entry)) for entry in self._ends[pipe_id]]
        held = [self._open(its[0][1], os.O_RDWR)]
        try:
            self._fill(pipe_id, held[0], text(its[0][1].reg.name))
            has_writer = any(regf.reg.flags & (os.O_ACCMODE | os.O_PATH) in (os.O_WRONLY, os.O_RDWR) for _, regf in its)
            late = []
            for entry, regf in its:
                if entry.fifo.no_hangup and not has_writer:
                    late.append((entry, regf))
                else:
                    out[entry.id] = self._open_again(held[0], regf)
            if late:
                held.append(ends.open_end(held[0], os.O_RDONLY, self._opener.links))
                os.close(held.pop(0))
            for entry, regf in late:
                out[entry.id] = self._open_again(held[0], regf)
        finally:
            for fd in held:
                os.close(fd)

    def _open(self, regf: Any, flags: int) -> int:
        """By its name, or by one that it is given for a while; without waiting for the other end."""
        wait = 0 if flags & os.O_PATH else os.O_NONBLOCK
        flags = flags & ~ends.ONCE | wait
        if (fd := self._opener.open_nameless(regf, flags)) >= 0:
            return fd
        path = text(regf.reg.name)
        # what has another type by now might wait, or do something, when it is opened
        look = self._opener.open(path, os.O_PATH, regf.reg.mnt_id)
        try:
            regular.check_mode(regf.reg, path, look, self._opener.rwx_check)
        finally:
            os.close(look)
        return self._opener.open(path, flags, regf.reg.mnt_id)

    def _open_again(self, held: int, regf: Any) -> int:
        """One end; its own name has to lead to the same FIFO as the others'."""
        fd = self._open(regf, regf.reg.flags)
        st, same = os.fstat(fd), os.fstat(held)
        if (st.st_dev, st.st_ino) != (same.st_dev, same.st_ino):
            os.close(fd)
            raise EngineError(
                f"{text(regf.reg.name)} (file {regf.id:#x}) is another FIFO than other names of it lead to"
            )
        return fd

    def _fill(self, pipe_id: int, fd: int, path: str) -> None:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise EngineError(f"{path} was a FIFO, and is one no more; put it back")
        if not self._contents:
            return
        from engine.kernel import files

        if waiting := files.waiting(fd):
            raise EngineError(f"the FIFO {path} has {waiting} bytes in it: somebody else uses it; end that first")
        self._contents.fill(pipe_id, fd, self._opener.resize)
