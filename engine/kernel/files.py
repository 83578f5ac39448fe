"""Descriptors of tasks as procfs shows them, many in a call (proc_pid_fd(5)); what is in a pipe, by tee(2)."""

from __future__ import annotations

import errno
import os
import struct

from engine.errors import KernelError
from engine.kernel import proc
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.process import pidfd_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator, Sequence
    from typing import Any

_ROW = struct.Struct("<8Q3q3Qq6I3i2I4x")  # struct zd_fd
_NUMBER = 15 * 8  # where it has the descriptor's
_NAMED, _GONE, _PIPE = 1, 2, 3  # ZD_*
_PART = 128  # descriptors that a thread looks at in one go
_FEW = 200
_SPARSE = 8  # numbers for each descriptor that is open, to try them all
_MOST_WORDS = 16
_AT_FDCWD = -100
_PACKET = 1 << 31  # ZD_PACKET
_MOST_PARTS = 1 << 16
_SLOT = 4096


def rows(pid: int, names: bool) -> Iterator[tuple[bytes, bool]]:
    """Of each descriptor that a task has open, ascending: what `parse` takes. OSError, KernelError when it is gone.

    With `names` the task runs: no file of its is held, but for those with O_ASYNC, of which alone the owner is told.
    Pipes are left out: they need no look before the freeze. It is also told whether its link leads there as a name,
    for the engine, which waits for whoever serves the file system. `pid` may be that of a thread, where its leader has
    ended.
    """
    looking = Looking([pid], names)
    try:
        yield from looking.rows(pid)
    finally:
        looking.close()


class Looking:
    """A look at the descriptors that tasks have open now; OSError, KernelError where one is gone.

    The kernel takes its time for each, and there may be another processor: with many, another thread looks as well,
    until all is done, or `close`. It is none of Python's: forking needs no care for it.
    """

    __slots__ = ("_look", "_of", "_parts", "_pidfds", "_told", "_wanted")

    def __init__(self, pids: list[int], names: bool = False) -> None:
        self._pidfds: list[int] = []
        self._wanted: list[Any] = []  # what the parts point to
        self._told: list[Any] = []
        self._of: dict[int, range] = {}
        try:
            parts = self._parts_of(pids, names)
        except BaseException:
            self._forget()
            raise
        self._parts = ffi.new("struct zd_fds[]", parts)
        self._look = ffi.new("struct zd_look *", (self._parts, len(parts)))
        if sum(map(len, self._wanted)) > _FEW:
            lib.zd_look_start(self._look)  # where there can be no thread, it is done without

    def _parts_of(self, pids: list[int], names: bool) -> list[Any]:
        parts: list[Any] = []
        for pid in pids:
            numbers = _numbers(pid)
            try:
                self._pidfds.append(pidfd_of(pid))
            except KernelError as e:
                if e.errno != errno.ESRCH:
                    raise
                raise ProcessLookupError(e.errno, os.strerror(e.errno), f"/proc/{pid}") from e
            first = len(parts)
            for at in range(0, len(numbers), _PART):
                its = list(numbers[at : at + _PART])
                wanted, told = ffi.new("int[]", its), ffi.new("unsigned char[]", len(its))
                self._wanted.append(wanted)
                self._told.append(told)
                parts.append((pid, self._pidfds[-1], wanted, told, len(its), names))
            self._of[pid] = range(first, len(parts))
        return parts

    def rows(self, pid: int) -> Iterator[tuple[bytes, bool]]:
        """Those of a task, once, as the function of that name."""
        for at in self._of[pid]:
            part = self._parts[at]
            lib.zd_look_part(self._look, at)
            if part.error:
                raise OSError(part.error, os.strerror(part.error), f"/proc/{pid}/fd")
            raw = bytes(ffi.buffer(part.out, part.used)) if part.used else b""
            offset = 0
            for told in bytes(ffi.buffer(part.told, part.count)):
                if told not in (_GONE, _PIPE):
                    end = offset + int.from_bytes(raw[offset : offset + 8], "little")
                    yield raw[offset:end], told == _NAMED
                    offset = end
            lib.zd_look_drop(self._parts + at)

    def close(self) -> None:
        """Nobody looks any more."""
        lib.zd_look_end(self._look)
        for at in range(len(self._parts)):
            lib.zd_look_drop(self._parts + at)
        self._forget()

    def _forget(self) -> None:
        for pidfd in self._pidfds:
            os.close(pidfd)
        self._pidfds.clear()


def _numbers(pid: int) -> Sequence[int]:
    """All that a task may have open, ascending; OSError.

    The kernel makes an inode for each name that it lists, which takes longer than asking for one that is not open.
    """
    count = os.stat(f"/proc/{pid}/fd").st_size  # 0 before Linux 6.2
    size = int(proc.read_text(f"/proc/{pid}/status").partition("\nFDSize:\t")[2].partition("\n")[0] or 0)
    if size <= count * _SPARSE:
        return range(size)
    return sorted(map(int, os.listdir(f"/proc/{pid}/fdinfo")))


def number(row: bytes) -> int:
    """Of which descriptor a row is."""
    return int.from_bytes(row[_NUMBER : _NUMBER + 4], "little")


def parse(row: bytes) -> tuple[int, ...]:
    """The numbers of a row: 14 that `status` takes, then those of DESCRIPTOR, and the owner's.

    The owner is (signal, F_OWNER_*, pid, uid, euid) as F_GETSIG, F_GETOWN_EX and F_GETOWNER_UIDS (F_GETOWN(2const))
    say, if somebody is told of its file; pid is 0 where that one is gone.
    """
    return _ROW.unpack_from(row)


def status(words: tuple[int, ...]) -> os.stat_result:
    """What fstat(2) says, of what `parse` returns; of times only st_atime_ns and their like."""
    mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime, blksize, blocks, rdev = words[1:14]
    seconds = (0, 0, 0, 0, 0, 0)  # nobody asks: what is wanted is in nanoseconds
    return os.stat_result((mode, ino, dev, nlink, uid, gid, size, *seconds, atime, mtime, ctime, blksize, blocks, rdev))


def link(row: bytes, size: int) -> str:
    """What the link of a descriptor shows, of `size` bytes."""
    return os.fsdecode(row[_ROW.size : _ROW.size + size])


def text(row: bytes, link: int, size: int) -> bytes:
    """The text of its fdinfo, behind a link of `link` bytes."""
    return row[_ROW.size + link : _ROW.size + link + size]


def build_id(name: str, at: int | None = None) -> list[int]:
    """The GNU build-id of an ELF file in 32-bit words, as elf(5) notes have it; empty for any other file. OSError.

    `at`: a descriptor of the directory that the name begins at. Its access time stays (O_NOATIME of open(2)), where
    we may see to that.
    """
    words = ffi.new("unsigned[]", _MOST_WORDS)
    count = lib.zd_build_id(_AT_FDCWD if at is None else at, os.fsencode(name), words, _MOST_WORDS)
    if count < 0:
        raise OSError(-count, os.strerror(-count), name)
    return list(words[0:count])


def build_ids(names: list[tuple[str, int, int]]) -> list[list[int] | None]:
    """The same of many: name, device and inode. None for what cannot be read, or is another inode."""
    texts = [ffi.new("char[]", os.fsencode(name)) for name, _, _ in names]
    wanted = ffi.new("struct zd_named[]", [(t, dev, ino) for t, (_, dev, ino) in zip(texts, names, strict=True)])
    lib.zd_build_ids(wanted, len(names))
    return [list(one.build_id[0 : one.words]) if one.words >= 0 else None for one in wanted]


def open_many(files: list[tuple[str, int, int, int, int, bool, int]]) -> list[bool]:
    """Open files by their names as descriptors of given numbers, close-on-exec.

    Each: (name, position, size or -1 for any, flags, mode or 0 for any, must its permissions be the same, number).
    False for what cannot be opened, is not as wanted, or would have to be waited for: there is no descriptor of it.
    """
    texts = [ffi.new("char[]", os.fsencode(one[0])) for one in files]
    wanted = ffi.new("struct zd_open[]", [(t, *one[1:]) for t, one in zip(texts, files, strict=True)])
    lib.zd_open_many(wanted, len(files))
    return [bool(one.done) for one in wanted]


def pipe_many(
    view: mmap.mmap | None, pipes: list[tuple[int, int, int, tuple[int, ...], tuple[int, ...]]]
) -> list[bool]:
    """Make pipes whose ends are descriptors of given numbers, close-on-exec.

    Each: (where its contents are in `view`, bytes, size or 0 for the usual, numbers to read and to write by (-1 for
    none), flags of both). False for what cannot be made so.
    """
    base = ffi.from_buffer(view) if view else ffi.NULL
    wanted = ffi.new("struct zd_new_pipe[]", [(base + at if view else ffi.NULL, *rest) for at, *rest in pipes])
    lib.zd_pipe_many(wanted, len(pipes))
    if view:
        ffi.release(base)
    return [bool(one.done) for one in wanted]


def waiting(fd: int) -> int:
    """Bytes that could be read (FIONREAD, ioctl_pipe(2)); also of inotify(7) and fanotify(7). KernelError."""
    return check(lib.zd_waiting(fd), "ioctl(FIONREAD)")


def tee(source: int, to: int, what: str = "") -> int:
    """Bytes that are in both pipes now (tee(2)): as much as is there, without waiting. KernelError EAGAIN for none."""
    return check(lib.zd_tee(source, to), "tee()", what)


def resize_pipe(fd: int, size: int) -> None:
    """Let a pipe take another number of bytes (F_SETPIPE_SZ, fcntl(2)). OSError."""
    import fcntl

    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)


class Pipes:
    """Pipes to copy the contents of others with."""

    __slots__ = ("_ends", "_parts", "native")

    def __init__(self) -> None:
        import fcntl

        self._ends: list[int] = []
        self.native = ffi.new("struct zd_pipes *")
        self._parts = ffi.new("unsigned[]", _MOST_PARTS)
        for name, slots in (("one", 1), ("two", 2), ("tee", 0), ("all", 0)):
            ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._ends += ends
            if slots:
                fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, slots * _SLOT)
            getattr(self.native, name)[0:2] = ends

    def copy(self, fd: int) -> tuple[int, list[tuple[int, bool]]]:
        """(read end of a copy, its parts: bytes, is it a packet); neighbours that a read joins are one. KernelError."""
        count = check(lib.zd_pipe_copy(self.native, fd, self._parts, _MOST_PARTS), "tee()")
        parts = [(n & ~_PACKET, bool(n & _PACKET)) for n in self._parts[0:count]]
        return int(self.native.all[0]), parts

    def close(self) -> None:
        """Close all of them."""
        for fd in self._ends:
            os.close(fd)
        self._ends.clear()


class Waiting:
    """What waits in the pipes of a process's descriptors, without taking it out."""

    __slots__ = ("_heads", "_pidfd", "_pipes")

    def __init__(self, pidfd: int, numbers: list[int]) -> None:
        self._pidfd = pidfd
        self._heads: list[object] = []
        self._pipes = ffi.new("struct zd_waiting[]", [(number,) for number in numbers])
        lib.zd_pipes_look(pidfd, self._pipes, len(numbers))

    def sizes(self) -> list[tuple[int, int]]:
        """Of each: bytes, and how many it can take; the first is -1 where it is not to be told."""
        return [(one.bytes, one.size) for one in self._pipes]

    def write(self, pipes: Pipes, first: int, heads: list[bytes], image: int) -> int:
        """Write those from the `first` on that are one part, each behind its head; how many. OSError of writing."""
        for i, head in enumerate(heads):
            self._heads.append(ffi.from_buffer(head))
            self._pipes[first + i].head, self._pipes[first + i].head_size = self._heads[-1], len(head)
        done = lib.zd_pipes_write(pipes.native, self._pidfd, self._pipes + first, len(heads), image)
        if done < 0:
            raise OSError(-done, os.strerror(-done))
        return int(done)
