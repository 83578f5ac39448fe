"""Datagram sockets of AF_UNIX made again, all of a tree at once (unix(7)).

All are made and bound, those with a name that is gone in a file system of our own, which nobody else sees. Then each
gets what waited in it, by who has sent that: what others have sent before it is connected, for then it takes only what
its peer sends. Options come last: filters and the like are not for what has been received.
"""

from __future__ import annotations

import errno
import os
import stat
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, socket, socketpair

from engine.blocks import closing, suppress
from engine.errors import BadImage, EngineError, KernelError
from engine.files import sk_queue, sockets
from engine.files.fd import O_CLOEXEC, shown
from engine.images.schema import text
from engine.kernel import sockets as kernel_sockets
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.tasks.opener import Opener

_UNSPEC = b"\0\0"  # AF_UNSPEC: to connect to nobody
_FAMILY = AF_UNIX.to_bytes(2, "little")
_LONGEST = 108  # sizeof(sun_path)
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
_ROOM = 100_000  # bytes that a new socket can surely send
_OVERHEAD = 1024  # bytes of memory that a datagram takes besides what is in it
_MOST = (1 << 31) - 1
_ESTABLISHED = 1  # TCP_ESTABLISHED


class Maker:
    """All sockets of the images, by their unix_sk_entries."""

    __slots__ = ("_by_ino", "_ghosts", "_made", "_opened", "_opener", "_packets", "_sockets")

    def __init__(self, opener: Opener, entries: list[Any]) -> None:
        """BadImage for what does not fit together."""
        self._opener = opener
        self._made: list[tuple[int, str]] = []  # names that were free: directory, last component
        self._opened: list[int] = []
        self._sockets = [_Socket(entry, opener.image) for entry in entries]
        self._ghosts: list[_Socket] = []  # those that are closed
        self._by_ino: dict[int, _Socket] = {}
        for its in self._sockets:
            if self._by_ino.setdefault(its.entry.ino, its) is not its:
                raise BadImage(opener.image, 0, f"{its}: another file has the inode {its.entry.ino}; dump again")
        for its in self._sockets:
            self._find_peer(its)
        met = {its.peer for its in self._sockets}
        for its in self._sockets:  # CRIU's images do not tell of closed peers: of one of a pair it is clear
            if not its.name and its.peer is None and its not in met and its.entry.state == _ESTABLISHED:
                self._peer_is_closed(its, b"")
        by_file = {its.entry.id: its for its in self._sockets}
        self._packets = {by_file[i]: queue for i, queue in sk_queue.read(opener.images, set(by_file)).items()}
        self._check_pairs()

    def _find_peer(self, its: _Socket) -> None:
        entry = its.entry
        if entry.peer:
            its.peer = self._by_ino[entry.peer]
        elif entry.HasField("closed_peer"):
            self._peer_is_closed(its, entry.closed_peer)

    def _peer_is_closed(self, its: _Socket, name: bytes) -> None:
        its.peer = self._ghost(its, name)
        if not name:
            its.peer.peer = its

    def _ghost(self, its: _Socket, name: bytes) -> _Socket:
        """One that is closed, but has had to do with `its`; of each name there is one."""
        for known in self._ghosts:
            if name and (known.name, known.ns_id) == (name, its.ns_id):
                return known
        ghost = _Socket(None, self._opener.image)
        ghost.name, ghost.ns_id = name, its.ns_id
        self._ghosts.append(ghost)
        return ghost

    def _check_pairs(self) -> None:
        """Nobody gets to a socket without a name but the other one of a pair."""
        for its in (*self._sockets, *self._ghosts):
            if its.peer and not its.peer.name:
                if its.peer.other or its.peer is its:
                    what = f"{its}: its peer has no name, and is another one's already; dump again"
                    raise BadImage(self._opener.image, 0, what)
                its.peer.other = its
        for its in (*self._sockets, *self._ghosts):
            if its.other and its.peer and not its.peer.name and its.peer is not its.other:
                raise BadImage(self._opener.image, 0, f"{its}: it is of two pairs; dump again")
        for its in self._packets:
            if not its.name and not its.other:
                raise BadImage(self._opener.image, 0, f"{its}: something waits in it, which nobody can have sent")

    def make(self) -> dict[int, int]:
        """File id -> descriptor. EngineError for what cannot be made, and then nothing is left of it."""
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY | O_CLOEXEC)
        try:
            for its in (*self._sockets, *self._ghosts):
                self._create(its)
            for its in self._ghosts:
                self._bind(its)
            for its in self._sockets:
                self._bind(its)
            for its in self._sockets:
                self._fill(its)
            for its in (*self._sockets, *self._ghosts):
                self._connect(its)
            for its in self._sockets:
                self._settle(its)
            for its in (*self._sockets, *self._ghosts):
                if its.is_gone and its.where:
                    os.unlink(its.where[1], dir_fd=its.where[0])
            return {its.entry.id: its.give() for its in self._sockets}
        finally:
            os.fchdir(cwd)
            os.close(cwd)
            for its in (*self._sockets, *self._ghosts):
                its.close()
            for fd in self._opened:
                os.close(fd)
            self._opened.clear()

    def undo(self) -> None:
        """Remove the names that were not there before."""
        while self._made:
            directory, last = self._made.pop()
            with suppress(FileNotFoundError):
                os.unlink(last, dir_fd=directory)

    def _create(self, its: _Socket) -> None:
        if its.socket is not None:
            return
        other = its.peer if its.peer and not its.peer.name else its.other
        with sockets.in_net(self._opener, its.ns_id):
            if other is None:
                its.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
                return
            its.socket, other.socket = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        for one, beyond in ((its, other), (other, its)):
            one.is_connected = one.peer is beyond
            if not one.is_connected:  # it has gone elsewhere since
                kernel_sockets.connect(one.fd, _UNSPEC, str(one))

    def _bind(self, its: _Socket) -> None:
        """Give it its name."""
        if its.name and not its.name[0]:
            try:
                kernel_sockets.bind(its.fd, _address(its.name))
            except KernelError as e:
                what = "another socket has that name: end who has it" if e.errno == errno.EADDRINUSE else str(e)
                raise EngineError(f"{its}: cannot be bound to {its.shown()}: {what}") from e
        elif its.name:
            if its.is_gone:
                self._bind_apart(its)
            else:
                self._bind_there(its)

    def _bind_there(self, its: _Socket) -> None:
        """Where the name was; what is there, if nobody has it any more, goes."""
        entry = its.entry
        directory, name, mnt_id = text(entry.name_dir), os.fsdecode(its.name[:-1]), entry.mnt_id
        try:
            parent, last = self._opener.parent(f"{directory.rstrip('/')}/{name.lstrip('/')}", mnt_id)
            its.where = parent, last
            aside = self._make_way(its, parent, last)
            try:
                root = self._opener.mounts.elsewhere(mnt_id) if self._opener.mounts else None
                cwd = None
                if directory or name[0] != "/":
                    cwd = self._keep(self._opener.open(directory or "/", os.O_PATH | os.O_DIRECTORY, mnt_id))
                if name[0] == "/" and directory:
                    root, cwd = cwd, None
                _bind_from(its, root, cwd)
            except BaseException:
                if aside:
                    os.rename(aside, last, src_dir_fd=parent, dst_dir_fd=parent)
                raise
            if aside:
                os.unlink(aside, dir_fd=parent)
            else:
                self._made.append((parent, last))
            _set_owner(its)
        except FileNotFoundError as e:
            raise EngineError(f"{its}: the directory of {its.shown()} is not there: make it") from e
        except OSError as e:
            raise KernelError(f"binding to {its.shown()}", e.errno or 0, str(its)) from e

    def _make_way(self, its: _Socket, parent: int, last: str) -> str:
        """Another name for what has its name now, if that is a socket that nobody has any more; "" for nothing."""
        try:
            st = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        if not stat.S_ISSOCK(st.st_mode):
            raise EngineError(f"{its}: what is called {its.shown()} is no socket: move it away")
        os.fchdir(parent)
        with closing(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) as one:
            try:
                kernel_sockets.connect(one.fileno(), _address(os.fsencode(last)))
            except KernelError as e:
                if e.errno == errno.ECONNREFUSED:
                    aside = f"{last[:16]}.cr.{os.getpid()}"
                    os.rename(last, aside, src_dir_fd=parent, dst_dir_fd=parent)
                    return aside
        raise EngineError(f"{its}: another socket is bound to {its.shown()}: end who has it, or move it away")

    def _bind_apart(self, its: _Socket) -> None:
        """In a file system of its own: its name leads to nobody, or to somebody else. It is removed in the end."""
        from engine.kernel import mounts

        name = os.fsdecode(its.name[:-1])
        directory = text(its.entry.name_dir) if its.entry is not None else ""
        try:
            top = self._keep(mounts.make("tmpfs", "", []))
            os.fchdir(top)
            base = f"./{directory}"
            os.makedirs(base, exist_ok=True)
            first = base if name[0] == "/" else "."
            parent = base
            for part in name.split("/")[:-1]:
                if part != ".." or not os.path.samefile(parent, first):  # above that it leads nowhere
                    parent = f"{parent}/{part}"
                os.makedirs(parent, exist_ok=True)
            cwd, above = (self._keep(os.open(p, os.O_PATH | os.O_DIRECTORY | O_CLOEXEC)) for p in (base, parent))
            _bind_from(its, *((cwd, None) if name[0] == "/" else (top, cwd)))
            its.where = above, os.path.basename(name)
            _set_owner(its)
        except OSError as e:
            raise KernelError(f"binding to {its.shown()}, which is gone", e.errno or 0, str(its)) from e

    def _keep(self, fd: int) -> int:
        """Until all are made."""
        self._opened.append(fd)
        return fd

    def _fill(self, its: _Socket) -> None:
        """What has waited in it, by who sent it. It is connected before what its peer has sent last."""
        queue = self._packets.get(its, [])
        peer = its.peer
        last = len(queue)
        if peer and (its.name or its.other is peer):
            while last and queue[last - 1][1] == peer.name:
                last -= 1
        for at, (data, sender) in enumerate(queue):
            if at == last:
                self._connect(its)
            try:
                self._send(its, data, sender, peer if at >= last else None)
            except OSError as e:
                why = os.strerror(e.errno or 0)
                if e.errno == errno.EAGAIN:
                    why += ": net.unix.max_dgram_qlen must not be less than it was"
                what = f"{its}: cannot queue datagram {at + 1} of {len(queue)}, {len(data)} bytes"
                raise EngineError(f"{what}: {why}") from e

    def _send(self, to: _Socket, data: bytes, name: bytes, by: _Socket | None) -> None:
        if not to.name:
            by = to.other
        elif by is None and name:
            named = (its for its in (*self._sockets, *self._ghosts) if (its.name, its.ns_id) == (name, to.ns_id))
            by = next(named, None)
        if by is None:
            by = self._ghost(to, name)
            self._create(by)
            self._bind(by)
        by.make_room(len(data))
        if not to.name:
            by.socket.send(data, MSG_DONTWAIT)
        else:
            by.socket.sendto(data, MSG_DONTWAIT, to.reach())
        if not by.name and by.entry is None and by.peer is None:
            by.close()
            self._ghosts.remove(by)

    def _connect(self, its: _Socket) -> None:
        if its.peer is None or its.is_connected:
            return
        address = its.peer.reach()
        try:
            kernel_sockets.connect(its.fd, _address(address))
        except KernelError as e:
            raise EngineError(f"{its}: cannot be connected to {its.peer.shown()}: {e}") from e
        its.is_connected = True

    def _settle(self, its: _Socket) -> None:
        """What is the socket's own."""
        import fcntl

        entry = its.entry
        sockets.restore_options(its.fd, entry.opts, str(its))
        if entry.shutdown:  # the bits of sk_shutdown, one more than what shutdown(2) takes
            kernel_sockets.shutdown(its.fd, entry.shutdown - 1)
        if entry.uid or entry.gid:
            os.fchown(its.fd, entry.uid, entry.gid)
        fcntl.fcntl(its.fd, fcntl.F_SETFL, entry.flags & _SETTABLE)


class _Socket:
    """One to be made; without an entry one that is closed. `where` is a directory, and the name there."""

    __slots__ = ("_image", "_room", "entry", "is_connected", "name", "ns_id", "other", "peer", "socket", "where")

    def __init__(self, entry: Any, image: str) -> None:
        self.entry = entry
        self._image = image
        self.name: bytes = entry.name if entry is not None else b""
        self.ns_id: int = entry.ns_id if entry is not None else 0
        self.peer: _Socket | None = None
        self.other: _Socket | None = None  # who has this for a peer, though it has no name
        self.socket: Any = None
        self.is_connected = False
        self.where: tuple[int, str] | None = None
        self._room = _ROOM

    @property
    def fd(self) -> int:
        """-1 while it is not made."""
        return -1 if self.socket is None else int(self.socket.fileno())

    @property
    def is_gone(self) -> bool:
        """Does its name not lead to it?"""
        return self.entry is None or bool(self.entry.deleted)

    def give(self) -> int:
        """The descriptor is the caller's."""
        fd = int(self.socket.detach())
        self.socket = None
        return fd

    def close(self) -> None:
        """If it is not given."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def reach(self) -> bytes:
        """A name by which it is reached now, from where the engine is then."""
        if self.where is None:
            return self.name
        os.fchdir(self.where[0])
        return os.fsencode(self.where[1])

    def make_room(self, size: int) -> None:
        """For a datagram more that it sends: CRIU's images do not say who did; its buffers come with its options."""
        self._room -= size * 2 + _OVERHEAD
        if self._room < 0:
            now = kernel_sockets.number(self.fd, so.SOL_SOCKET, so.SO_SNDBUF) or 0
            more = min(now + size * 4, _MOST // 4)
            try:
                kernel_sockets.put(self.fd, so.SOL_SOCKET, so.SO_SNDBUFFORCE, more, str(self))
            except KernelError as e:
                if e.errno != errno.EPERM:
                    raise
                kernel_sockets.put(self.fd, so.SOL_SOCKET, so.SO_SNDBUF, more, str(self))
            self._room += more

    def shown(self) -> str:
        """Its name, for messages."""
        if not self.name:
            return "a socket without a name"
        return shown(os.fsdecode(b"@" + self.name[1:] if not self.name[0] else self.name[:-1]))

    def __str__(self) -> str:
        if self.entry is None:
            return f"{self._image}: a socket that is closed"
        return f"file {self.entry.id:#x} of {self._image} (unix socket)"


def _address(name: bytes) -> bytes:
    return _FAMILY + name[:_LONGEST]


def _bind_from(its: _Socket, root: int | None, cwd: int | None) -> None:
    """Bind it, from directories that are for root and working directory. The latter is left changed."""
    own = os.open("/", os.O_PATH | os.O_DIRECTORY | O_CLOEXEC) if root is not None else -1
    try:
        if root is not None:
            os.fchdir(root)
            os.chroot(".")
        try:
            if cwd is not None:
                os.fchdir(cwd)
            kernel_sockets.bind(its.fd, _address(its.name))
        finally:
            if root is not None:
                os.fchdir(own)
                os.chroot(".")
    except KernelError as e:
        raise EngineError(f"{its}: cannot be bound to {its.shown()}: {os.strerror(e.errno)}") from e
    finally:
        if own >= 0:
            os.close(own)


def _set_owner(its: _Socket) -> None:
    """Who may connect to the name: a socket that is closed never minds."""
    if its.entry is not None and its.entry.HasField("file_perms") and its.where:
        perms, (parent, last) = its.entry.file_perms, its.where
        os.chown(last, perms.uid, perms.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(last, stat.S_IMODE(perms.mode), dir_fd=parent)
