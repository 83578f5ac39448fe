"""What waits in a pipe or FIFO, and how much it can take: pipes-data.img and fifo-data.img (pipe(7), tee(2)).

Nothing is consumed at a dump: tee(2) makes another pipe refer to the same pages, and splice(2) writes these. A restored
pipe gets copies: pages that it shared with the image would change, or be gone, with the image.
"""

from __future__ import annotations

import errno
import os

from engine.errors import BadImage, Bug, KernelError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

    from engine.images.files import Images

DEFAULT_SIZE = 16 * 4096  # bytes that a new pipe can take
_SLOT = 4096
_ALL = 1 << 30
_NONBLOCK = 2  # SPLICE_F_NONBLOCK


class Source:
    """A pipe of the tree: `path` leads to one of its ends, of which a new struct file is made to look at it."""

    __slots__ = ("ident", "packets", "path", "readable", "what")

    def __init__(self, ident: int, path: str, readable: bool, packets: bool, what: str) -> None:
        self.ident = ident
        self.path = path
        self.readable = readable  # contents that nobody can read are nobody's
        self.packets = packets
        self.what = what


def dump(images: Images, kind: str, message: Any, sources: list[Source]) -> None:
    """Write PIPES_DATA or FIFO_DATA, while nobody reads or writes. Unsupported for a pipe that cannot be copied."""
    out = images.begin(kind, (), [])
    try:
        for source in sources:
            try:
                _dump(out, message("pipe_data_entry")(pipe_id=source.ident, bytes=0), source, message)
            except OSError as e:
                what = f"copying its contents to {images.path}/{images.name(kind)}"
                raise KernelError(f"{source.what}: {what}", e.errno or 0) from e
    finally:
        os.close(out)


def _dump(out: int, entry: Any, source: Source, message: Any) -> None:
    import fcntl

    opened = [os.open(source.path, (os.O_RDONLY if source.readable else os.O_WRONLY) | os.O_NONBLOCK | os.O_CLOEXEC)]
    try:
        end = opened[0]
        entry.size = fcntl.fcntl(end, fcntl.F_GETPIPE_SZ)
        waiting = _waiting(end) if source.readable else 0
        entry.bytes = waiting
        if waiting:
            contents = _copy(end, entry.size, waiting, source.what, opened)
            if source.packets:
                contents = _take_apart(contents, entry, message("pipe_part_entry"), opened)
        elif not source.readable and entry.size == DEFAULT_SIZE:
            return
        raw = entry.SerializeToString()
        os.write(out, len(raw).to_bytes(4, "little") + raw)
        while waiting:
            done = os.splice(contents, out, waiting)
            if not done:
                raise Bug(f"{source.what}: {waiting} bytes of its contents are not there any more")
            waiting -= done
    finally:
        for fd in opened:
            os.close(fd)


def _waiting(fd: int) -> int:
    """Bytes to read (FIONREAD, ioctl_pipe(2))."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")


def _pipe(opened: list[int]) -> tuple[int, int]:
    """Both ends, which close with the rest of `opened`."""
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    opened += ends
    return ends


def _copy(end: int, size: int, waiting: int, what: str, opened: list[int]) -> int:
    """The reading end of a pipe with the same contents."""
    import fcntl

    reader, writer = _pipe(opened)
    try:
        if size > DEFAULT_SIZE:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, size)
        done = _tee(end, writer)
    except OSError as e:
        remedy = f"{size} bytes must not be more than /proc/sys/fs/pipe-max-size"
        if e.errno == errno.EINVAL:
            remedy = "pipes for notifications (watch_queue) are not supported"
        raise Unsupported([f"{what}: its contents cannot be copied: {e.strerror}: {remedy}"]) from e
    if done != waiting:
        raise Unsupported([f"{what}: only {done} of the {waiting} bytes in it can be copied: read from it first"])
    return reader


def _tee(source: int, to: int) -> int:
    """tee(2): as much as is there."""
    import ctypes  # Python has no call for it; only pipes with something in them need it

    libc = ctypes.CDLL(None, use_errno=True)
    done = int(libc.tee(source, to, ctypes.c_size_t(_ALL), _NONBLOCK))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def _take_apart(contents: int, entry: Any, part: Any, opened: list[int]) -> int:
    """Fill `parts` where reads do not join all that waits. Returns where the contents are now.

    A pipe of one slot takes what one write has left; when that is a packet, a read of one byte leaves nothing of it.
    """
    import fcntl

    one, into_one = _pipe(opened)
    moved, into_moved = _pipe(opened)
    fcntl.fcntl(into_one, fcntl.F_SETPIPE_SZ, _SLOT)
    fcntl.fcntl(into_moved, fcntl.F_SETPIPE_SZ, entry.size)
    parts: list[tuple[int, bool]] = []
    left = entry.bytes
    while left:
        size = _tee(contents, into_one)
        os.read(one, 1)
        packet = not _waiting(one)
        if not packet:
            os.read(one, size)
        left -= os.splice(contents, into_moved, size)
        if parts and not packet and not parts[-1][1]:
            size += parts.pop()[0]
        parts.append((size, packet))
    if any(packet for _, packet in parts):
        entry.parts.extend(part(bytes=size, packet=packet) for size, packet in parts)
    return moved


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

    def fill(self, ident: int, fd: int) -> None:
        """Give a new pipe, by its writing end, its size and contents. KernelError, BadImage."""
        import fcntl

        entry, at = self._entries.get(ident, (None, 0))
        if entry is None:
            return
        if entry.size and entry.size != fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ):
            try:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, entry.size)
            except OSError as e:
                raise KernelError(
                    f"fcntl(F_SETPIPE_SZ, {entry.size})",
                    e.errno or 0,
                    f"pipe {ident:#x} of {self._name}; /proc/sys/fs/pipe-max-size must not be less",
                ) from e
        if not entry.parts:
            self._write(fd, entry, at, at + entry.bytes, 0)
        for part in entry.parts:
            if part.packet:
                self._write(fd, entry, at, at + part.bytes, os.O_DIRECT)
            else:
                self._write_apart(fd, entry, at, at + part.bytes)
            at += part.bytes

    def _write_apart(self, fd: int, entry: Any, at: int, end: int) -> None:
        """By way of tee(2): a small packet would join what was written last, if there is room in its page."""
        import fcntl

        ends: list[int] = []
        try:
            reader, writer = _pipe(ends)
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))
            self._write(writer, entry, at, end, 0)
            done = _tee(reader, fd)
            if done != end - at:
                raise self._too_much(entry, at, end - at - done)
        except OSError as e:
            raise KernelError(f"tee({end - at} bytes)", e.errno or 0, f"pipe {entry.pipe_id:#x}") from e
        finally:
            for made in ends:
                os.close(made)

    def _write(self, fd: int, entry: Any, at: int, end: int, flags: int) -> None:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | flags)
        while at < end:
            try:
                with memoryview(self._mapped()) as whole, whole[at:end] as part:
                    at += os.write(fd, part)
            except OSError as e:
                if e.errno != errno.EAGAIN:
                    raise KernelError(f"write({end - at} bytes)", e.errno or 0, f"pipe {entry.pipe_id:#x}") from e
                raise self._too_much(entry, at, end - at) from e

    def _too_much(self, entry: Any, at: int, left: int) -> BadImage:
        return BadImage(self._name, at, f"the last {left} bytes do not fit into pipe {entry.pipe_id:#x}; dump again")

    def _mapped(self) -> mmap.mmap:
        if self._view is None:
            import mmap

            fd = self._images.open_raw(self._kind)
            try:
                self._view = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
        return self._view
