"""POSIX message queues (mq_overview(7)), which CRIU does not have.

A queue that has its name still is taken as it is, like any file; else it is made anew, with its messages.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files.fd import DELETED, O_CLOEXEC, Descriptor
from engine.images.schema import set_text, text
from engine.kernel import mqueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 1000  # fd_types.POSIX_MQUEUE
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


def is_one(d: Descriptor) -> bool:
    """Is it a queue?"""
    return mqueue.is_queue(d.path)


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a queue that somebody is to be told of, and for one whose descriptor neither reads nor writes."""
    if d.flags & os.O_PATH:
        raise Unsupported([f"{d}: a message queue that is open with O_PATH: close it before the dump"])
    told = _told(d)
    if told.get("NOTIFY_PID", "0") != "0":
        what = (
            f"pid {told['NOTIFY_PID']} is told of messages (mq_notify(3)), but with what value the kernel does not say"
        )
        raise Unsupported([f"{d}: {what}: cancel that before the dump"])


def _told(d: Descriptor) -> dict[str, str]:
    """What the queue says of itself: QSIZE, NOTIFY, SIGNO, NOTIFY_PID."""
    fd = os.open(d.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        words = os.pread(fd, 4096, 0).decode().split()
    finally:
        os.close(fd)
    return dict(word.partition(":")[::2] for word in words)


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; the messages are `Survey`'s."""
    entry.type = TYPE
    it = entry.mqueue
    it.id, it.flags, it.pos, it.ino = entry.id, d.flags & ~O_CLOEXEC, int(d.info["pos"]), d.stat.st_ino
    it.fown.SetInParent()
    it.mode, it.uid, it.gid = d.stat.st_mode, files.scope.uid(d.stat.st_uid), files.scope.gid(d.stat.st_gid)
    it.maxmsg = it.msgsize = 0
    it.deleted = d.stat.st_nlink == 0
    set_text(it, "name", d.link.removesuffix(DELETED) if it.deleted else d.link)
    files.survey.of(_self()).found(d, entry)


def _self() -> Any:
    from engine.files import mqueue as module

    return module


class Survey:
    """The queues of a tree, each once."""

    __slots__ = ("_entries", "_queues")

    def __init__(self, scope: Scope) -> None:
        self._queues: dict[int, Descriptor] = {}
        self._entries: dict[int, list[Any]] = {}

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._queues.setdefault(d.stat.st_ino, d)

    def found(self, d: Descriptor, entry: Any) -> None:
        """Its file_entry."""
        self._entries.setdefault(d.stat.st_ino, []).append(entry)

    def blockers(self, pids: set[int]) -> list[str]:
        """Queues belong to nobody."""
        return []

    def write(self, images: Images, message: Any) -> None:
        """Add the messages to files.img."""
        for ino, d in self._queues.items():
            fd = os.open(d.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                most, size, _ = mqueue.attributes(fd)
                messages = mqueue.messages(fd)
            except KernelError as e:
                raise KernelError(e.call, e.errno, str(d)) from e
            finally:
                os.close(fd)
            for entry in self._entries[ino]:
                entry.mqueue.maxmsg, entry.mqueue.msgsize = most, size
            for priority, content in messages:
                self._entries[ino][0].mqueue.messages.add(priority=priority, text=content)


class Objects:
    """The queues of images."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._made: list[bytes] = []
        self._by_ino: dict[int, list[Any]] = {}
        for entry in opener.files.values():
            if entry.type == TYPE and entry.HasField("mqueue"):
                self._by_ino.setdefault(entry.mqueue.ino, []).append(entry)

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """A queue: every descriptor of it, by file id."""
        if not entry.HasField("mqueue"):
            raise BadImage(self._opener.image, 0, f"file {entry.id:#x} is a queue without a mqueue_file_entry")
        same = self._by_ino[entry.mqueue.ino]
        made, name = self._queue(same)
        out: dict[int, int] = {}
        try:
            for other in same:
                out[other.id] = _open(other, name)
            if entry.mqueue.deleted:
                mqueue.unlink(name)
                self._made.remove(name)
        except BaseException:
            for fd in out.values():
                os.close(fd)
            raise
        finally:
            os.close(made)
        return out

    def _queue(self, same: list[Any]) -> tuple[int, bytes]:
        """A descriptor of the queue, and its name for now."""
        it = same[0].mqueue
        name = os.fsencode(text(it.name).rpartition("/")[2])
        if not it.deleted:
            try:
                fd = mqueue.open_queue(name, os.O_RDWR)
            except KernelError as e:
                if e.errno != errno.ENOENT:
                    raise
            else:
                if mqueue.attributes(fd)[:2] != (it.maxmsg, it.msgsize):
                    os.close(fd)
                    raise EngineError(f"message queue {text(it.name)} is another one than at the dump: remove it")
                return fd, name
        try:
            fd = mqueue.open_queue(name, _NEW, 0o600, it.maxmsg, it.msgsize)
        except KernelError as e:
            if e.errno != errno.EEXIST or not it.deleted:
                raise
            name = f"criu-{os.getpid()}-{it.ino}".encode()  # it has none in the end
            fd = mqueue.open_queue(name, _NEW, 0o600, it.maxmsg, it.msgsize)
        self._made.append(name)
        try:
            os.fchmod(fd, stat.S_IMODE(it.mode))
            os.fchown(fd, it.uid, it.gid)
            for other in same:
                for message in other.mqueue.messages:
                    mqueue.send(fd, message.text, message.priority)
        except OSError as e:
            os.close(fd)
            raise KernelError("fchmod or fchown", e.errno or 0, f"message queue {text(it.name)}") from e
        except BaseException:
            os.close(fd)
            raise
        return fd, name

    def undo(self) -> None:
        """The restore has failed: remove the queues that it has made."""
        while self._made:
            mqueue.unlink(self._made.pop())


def _open(entry: Any, name: bytes) -> int:
    it = entry.mqueue
    path = text(it.name)
    if it.deleted or path.count("/") == 1:
        fd = mqueue.open_queue(name, it.flags & (os.O_ACCMODE | os.O_NONBLOCK))
    else:
        try:
            fd = os.open(path, it.flags | O_CLOEXEC)
        except OSError as e:
            raise KernelError(f"open({path})", e.errno or 0, f"file {entry.id:#x}: a message queue") from e
    if it.pos:
        os.lseek(fd, it.pos, os.SEEK_SET)
    return fd
