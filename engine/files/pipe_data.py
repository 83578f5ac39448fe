"""What waits in a pipe or FIFO, and how much it can take: pipes-data.img and fifo-data.img (pipe(7), tee(2)).

Nothing is consumed at a dump: tee(2) makes another pipe refer to the same pages, and splice(2) writes these. A restored
pipe gets copies: pages that it shared with the image would change, or be gone, with the image.
"""

from __future__ import annotations

import errno
import os

from engine.blocks import ExitStack
from engine.errors import BadImage, Bug, KernelError, Unsupported
from engine.kernel import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from typing import Any

    from engine.files.fd import Descriptor
    from engine.images.files import Images

    Resize = Callable[[int, int], None]  # a pipe, to how many bytes; OSError

DEFAULT_SIZE = 16 * 4096  # bytes that a new pipe can take


class Source:
    """A pipe of the tree, by a descriptor of any of its ends; `outside` says which end the tree lacks."""

    __slots__ = ("d", "ident", "is_plain", "outside", "readable")

    def __init__(self, ident: int, d: Descriptor, readable: bool, outside: int) -> None:
        self.ident = ident
        self.d = d
        self.readable = readable
        self.outside = outside
        self.is_plain = readable and not outside


def dump(images: Images, kind: str, message: Any, sources: list[Source]) -> None:
    """Write PIPES_DATA or FIFO_DATA, while nobody reads or writes. Unsupported for a pipe that cannot be copied."""
    with ExitStack() as opened:
        out = images.begin(kind, (), [])
        opened.callback(os.close, out)
        pipes = files.Pipes()
        opened.callback(pipes.close)
        writer = _Writer(images, kind, message, out, pipes)
        by_pid: dict[int, list[Source]] = {}
        for source in sources:
            by_pid.setdefault(source.d.pid, []).append(source)
        for pid, its in by_pid.items():
            pidfd = process.pidfd_of(pid)
            opened.callback(os.close, pidfd)
            writer.write(pidfd, its)


class _Writer:
    """Of the contents of pipes. Most are one part, and written many in a call."""

    __slots__ = ("_entry", "_images", "_kind", "_out", "_part", "_pipes")

    def __init__(self, images: Images, kind: str, message: Any, out: int, pipes: files.Pipes) -> None:
        self._images = images
        self._kind = kind
        self._entry, self._part = message("pipe_data_entry"), message("pipe_part_entry")
        self._out = out
        self._pipes = pipes

    def write(self, pidfd: int, sources: list[Source]) -> None:
        """All of one process."""
        sources = sorted(sources, key=lambda source: not source.is_plain)
        plain = sum(source.is_plain for source in sources)
        waiting = files.Waiting(pidfd, [source.d.fd for source in sources[:plain]])
        sizes = waiting.sizes()
        heads = [self._head(source, *size) for source, size in zip(sources[:plain], sizes, strict=True)]
        at = 0
        while at < plain:
            try:
                at += waiting.write(self._pipes, at, heads[at:], self._out)
            except OSError as e:
                raise self._failed(sources[at], e) from e
            if at < plain:  # packets, or something that cannot be copied
                self._write_apart(pidfd, sources[at])
                at += 1
        for source in sources[plain:]:
            self._write_apart(pidfd, source)

    def _head(self, source: Source, left: int, size: int) -> bytes:
        return _with_length(self._entry(pipe_id=source.ident, bytes=max(left, 0), size=max(size, 0)))

    def _failed(self, source: Source, e: OSError) -> KernelError:
        what = f"copying its contents to {self._images.path}/{self._images.name(self._kind)}"
        return KernelError(f"{source.d}: {what}", e.errno or 0)

    def _write_apart(self, pidfd: int, source: Source) -> None:
        try:
            end = process.pidfd_getfd(pidfd, source.d.fd)
            try:
                self._dump(end, source)
            finally:
                os.close(end)
        except OSError as e:
            raise self._failed(source, e) from e

    def _dump(self, end: int, source: Source) -> None:
        import fcntl

        left = files.waiting(end)
        entry = self._entry(pipe_id=source.ident, bytes=left, size=fcntl.fcntl(end, fcntl.F_GETPIPE_SZ))
        if source.outside:
            entry.outside = source.outside
        elif not left and not source.readable and entry.size == DEFAULT_SIZE:
            return
        contents = -1
        if left:
            contents, parts = _copy(end, entry, source, self._pipes)
            if len(parts) > 1 or parts[0][1]:
                entry.parts.extend(self._part(bytes=size, packet=packet) for size, packet in parts)
        os.write(self._out, _with_length(entry))
        while left:
            done = os.splice(contents, self._out, left)
            if not done:
                raise Bug(f"{source.d}: {left} bytes of its contents are not there any more")
            left -= done


def _with_length(entry: Any) -> bytes:
    raw: bytes = entry.SerializeToString()
    return len(raw).to_bytes(4, "little") + raw


def _copy(end: int, entry: Any, source: Source, pipes: files.Pipes) -> tuple[int, list[tuple[int, bool]]]:
    again = -1
    try:
        if not source.readable:  # and yet whoever opens it again can read that
            again = end = os.open(source.d.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return pipes.copy(end)
    except KernelError as e:
        why = {
            errno.EMSGSIZE: f"{entry.bytes} bytes are not all that is in it: read from it first",
            errno.EINVAL: "pipes for notifications (watch_queue) are not supported",
        }.get(e.errno, f"{entry.size} bytes must not be more than /proc/sys/fs/pipe-max-size")
        raise Unsupported([f"{source.d}: its contents cannot be copied: {os.strerror(e.errno)}: {why}"]) from e
    finally:
        if again >= 0:
            os.close(again)


def has_writer(d: Descriptor) -> bool | None:
    """Has somebody a FIFO open for writing, of which this is a read end? None: not to be told, there are contents."""
    opened = [process.borrow(d.pid, d.fd)]
    try:
        if files.waiting(opened[0]):
            return None
        try:
            return bool(files.tee(opened[0], _pipe(opened)[1]))
        except KernelError as e:
            if e.errno != errno.EAGAIN:
                raise
            return True
    finally:
        for fd in opened:
            os.close(fd)


def _pipe(opened: list[int]) -> tuple[int, int]:
    """Both ends, which close with the rest of `opened`."""
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    opened += ends
    return ends


class Contents:
    """Those of an image, to fill pipes with. BadImage when two entries are of one pipe."""

    __slots__ = ("_entries", "_images", "_kind", "_name", "_view")

    def __init__(self, images: Images, kind: str) -> None:
        self._images = images
        self._kind = kind
        self._name = images.name(kind)
        self._view: mmap.mmap | None = None
        self._entries: dict[int, tuple[Any, int]] = {}
        for entry, begin, _ in images.read_spans(kind) if images.exists(kind) else ():
            if entry.pipe_id in self._entries:
                raise BadImage(self._name, begin, f"pipe {entry.pipe_id:#x} has contents already; dump again")
            if entry.parts and sum(p.bytes for p in entry.parts) != entry.bytes:
                raise BadImage(
                    self._name, begin, f"the parts of pipe {entry.pipe_id:#x} are not its {entry.bytes} bytes"
                )
            self._entries[entry.pipe_id] = entry, begin

    def check(self, known: set[int]) -> None:
        """BadImage for contents of a pipe that nobody has an end of."""
        for ident, (_, begin) in self._entries.items():
            if ident not in known:
                raise BadImage(
                    self._name,
                    begin,
                    f"contents of pipe {ident:#x}, but files.img has no end of it: truncated, or images of two dumps",
                )

    def lacks(self, ident: int) -> int:
        """Which end was held outside of the tree, 0 for none."""
        entry, _ = self._entries.get(ident, (None, 0))
        return int(entry.outside) if entry is not None else 0

    def size(self, ident: int) -> int:
        """Bytes of contents."""
        entry, _ = self._entries.get(ident, (None, 0))
        return int(entry.bytes) if entry is not None else 0

    def plain(self, ident: int) -> tuple[int, int, int] | None:
        """(where, bytes, size of the pipe or 0) of what one write(2) can give a pipe; None for what is done apart."""
        entry, at = self._entries.get(ident, (None, 0))
        if entry is None:
            return 0, 0, 0
        return None if entry.outside or entry.parts else (at, int(entry.bytes), int(entry.size))

    def fill(self, ident: int, fd: int, resize: Resize) -> None:
        """Give a new pipe, by its writing end, its size and contents. KernelError, BadImage."""
        entry, at = self._entries.get(ident, (None, 0))
        if entry is None:
            return
        if entry.size:
            self._resize(entry, fd, entry.size, resize)
        if not entry.parts:
            self._write(fd, entry, at, at + entry.bytes, 0)
        for part in entry.parts:
            if part.packet:
                self._write(fd, entry, at, at + part.bytes, os.O_DIRECT)
            else:
                self._write_apart(fd, entry, at, at + part.bytes, resize)
            at += part.bytes

    def _resize(self, entry: Any, fd: int, size: int, resize: Resize) -> None:
        import fcntl

        if size == fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ):
            return
        try:
            resize(fd, size)
        except OSError as e:
            limits = "/proc/sys/fs/pipe-max-size and pipe-user-pages-soft must not be less"
            where = f"pipe {entry.pipe_id:#x} of {self._name}; {limits}"
            raise KernelError(f"fcntl(F_SETPIPE_SZ, {size})", e.errno or 0, where) from e

    def _write_apart(self, fd: int, entry: Any, at: int, end: int, resize: Resize) -> None:
        """By way of tee(2): a small packet would join what was written last, if there is room in its page."""
        import fcntl

        ends: list[int] = []
        try:
            reader, writer = _pipe(ends)
            self._resize(entry, writer, fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ), resize)
            self._write(writer, entry, at, end, 0)
            done = files.tee(reader, fd, f"pipe {entry.pipe_id:#x} of {self._name}")
            if done != end - at:
                raise self._too_much(entry, at, end - at - done)
        except OSError as e:
            raise KernelError(f"a pipe for {end - at} bytes", e.errno or 0, f"pipe {entry.pipe_id:#x}") from e
        finally:
            for made in ends:
                os.close(made)

    def _write(self, fd: int, entry: Any, at: int, end: int, flags: int) -> None:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | flags)
        while at < end:
            try:
                with memoryview(self.mapped()) as whole, whole[at:end] as part:
                    at += os.write(fd, part)
            except OSError as e:
                if e.errno != errno.EAGAIN:
                    raise KernelError(f"write({end - at} bytes)", e.errno or 0, f"pipe {entry.pipe_id:#x}") from e
                raise self._too_much(entry, at, end - at) from e

    def _too_much(self, entry: Any, at: int, left: int) -> BadImage:
        return BadImage(self._name, at, f"the last {left} bytes do not fit into pipe {entry.pipe_id:#x}; dump again")

    def mapped(self) -> mmap.mmap:
        """The whole image."""
        if self._view is None:
            import mmap

            fd = self._images.open_raw(self._kind)
            try:
                self._view = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
        return self._view
