"""Sockets of AF_UNIX (unix(7)): names, peers, what waits in them; unix_sk_entry. Datagrams, for now.

A socket's peer is named by its inode number. How they are made again is engine/files/unix_make.py's.
"""

from __future__ import annotations

import os
import stat

from engine.blocks import closing
from engine.errors import BadImage, KernelError, Unsupported
from engine.files import sk_queue, sockets
from engine.files.fd import DELETED, O_CLOEXEC, Descriptor, shown
from engine.files.held import Held
from engine.images.schema import set_text, text
from engine.kernel import sockets as kernel_sockets
from engine.kernel import unix_diag
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.files.unix_make import Maker
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 5  # fd_types.UNIXSK
_IMAGE = "files.img"
_LONGEST = 109  # bytes of a name: sun_path, and a NUL behind it
_SIOCUNIXFILE = 0x89E0  # linux/un.h: a descriptor (O_PATH) of the file that a socket is bound to
_KINDS = {so.SOCK_STREAM: "stream", so.SOCK_SEQPACKET: "sequenced packets"}


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for sockets with connections, and for what cannot be taken out of a queue as it is in there.

    Only of who is frozen all of it is asked: a copy of the socket would keep the name of one that its task closes.
    """
    if number := int(d.info.get("scm_fds", "0")):
        what = f"{number} descriptors wait in its queue (SCM_RIGHTS)"
        raise Unsupported([f"{d}: {what}: not supported yet; have them received before the dump"])
    if not scope.frozen:
        return
    with closing(Held(d)) as held:
        if refusal := _refusal(d, sockets.family_of(held.fd)[1]):
            raise Unsupported([refusal])
        sockets.check_options(held.fd, str(d))
        is_told = kernel_sockets.number(held.fd, so.SOL_SOCKET, so.SO_PASSCRED)
        if is_told and _has_waiting(held.fd):
            what = "what waits in its queue comes with the credentials of its senders (SO_PASSCRED)"
            raise Unsupported([f"{d}: {what}: not supported yet; have that received before the dump"])


def _refusal(d: Descriptor, kind: int) -> str:
    if kind == so.SOCK_DGRAM:
        return ""
    what = f"a unix socket for {'a ' * (kind == so.SOCK_STREAM)}{_KINDS[kind]}"
    return f"{d}: {what} is not supported yet; close it before the dump"


def _has_waiting(fd: int) -> bool:
    from select import POLLIN, poll

    its = poll()
    its.register(fd, POLLIN)
    return any(events & POLLIN for _, events in its.poll(0))


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; what waits is `Survey`'s to write."""
    entry.type = TYPE
    it = entry.usk
    survey = files.survey.of(_self())
    with closing(Held(d)) as held:
        ns, told = survey.look(d, held.fd)
        it.id, it.ino, it.type, it.state = entry.id, d.ino, told.type, told.state
        it.flags, it.uflags, it.backlog, it.peer = d.flags & ~O_CLOEXEC, 0, told.sent, told.peer or 0
        it.ns_id = ns
        if d.stat.st_uid or d.stat.st_gid:
            it.uid, it.gid = files.scope.uid(d.stat.st_uid), files.scope.gid(d.stat.st_gid)
        sockets.dump_options(held.fd, it.opts)
        it.name = told.name
        if told.shutdown:
            it.shutdown = told.shutdown
        if told.peer == 0:
            it.closed_peer = _sun_path(kernel_sockets.peer(held.fd))
        if told.name and told.name[0]:
            _dump_place(it, d, held.fd, files.scope)
        survey.found(entry.id, sk_queue.datagrams(held.fd, str(d)))


def _self() -> Any:
    from engine.files import unix as module

    return module


def _sun_path(address: bytes) -> bytes:
    name = address[2:]
    return name.partition(b"\0")[0] + b"\0" if name and name[0] else name


def _dump_place(it: Any, d: Descriptor, fd: int, scope: Scope) -> None:
    """Where its name is, and who may use it."""
    from fcntl import ioctl

    name = os.fsdecode(it.name[:-1])
    try:
        file = ioctl(fd, _SIOCUNIXFILE)
    except OSError as e:
        raise KernelError("ioctl(SIOCUNIXFILE)", e.errno or 0, str(d)) from e
    try:
        st = os.fstat(file)
        path = os.readlink(f"/proc/self/fd/{file}")
        mnt_id = scope.mount_of(f"/proc/self/fd/{file}") if scope.has_mounts else -1
    finally:
        os.close(file)
    it.file_perms.mode, it.file_perms.uid, it.file_perms.gid = st.st_mode, scope.uid(st.st_uid), scope.gid(st.st_gid)
    if scope.has_mounts:
        it.mnt_id = mnt_id
    pid = scope.viewer(d.pid, mnt_id)
    where = _directory(pid, name, path.removesuffix(DELETED), d, scope)
    for directory in where:
        if _is_there(pid, directory, name, st, scope):
            break
    else:
        it.deleted = True
        directory = where[0]
    if directory:
        set_text(it, "name_dir", directory)


def _directory(pid: int, name: str, path: str, d: Descriptor, scope: Scope) -> list[str]:
    """From where the name may have been bound, most likely first; "" is the root of the mount namespace.

    An absolute name below a directory is one of a task that has this for its root.
    """
    below = path.removesuffix(name if name[0] == "/" else f"/{name}")
    found = [""] if name[0] == "/" else []
    if below != path:
        found.append(below or ("" if name[0] == "/" else "/"))
    if name[0] != "/":
        found.append(os.readlink(f"/proc/{d.pid}/cwd").removesuffix(DELETED))
    return found


def _is_there(pid: int, directory: str, name: str, st: os.stat_result, scope: Scope) -> bool:
    its = scope.stat(pid, f"{directory}/{name}", follow=False)
    return its is not None and (its.st_dev, its.st_ino) == (st.st_dev, st.st_ino)


class Survey(sockets.Survey):
    """The sockets of a tree: their peers have to be in it."""

    __slots__ = ("_waiting",)

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self._waiting: dict[int, list[tuple[bytes, bytes]]] = {}

    def ask(self) -> dict[int, unix_diag.UnixSocket]:
        """All of them."""
        return unix_diag.unix_sockets()

    def found(self, ident: int, waiting: list[tuple[bytes, bytes]]) -> None:
        """What waits in a file of that id, and its senders."""
        self._waiting[ident] = waiting

    def look(self, d: Descriptor, fd: int) -> tuple[int, unix_diag.UnixSocket]:
        """The number of its network namespace, and what the kernel tells of it while the tree is frozen."""
        ns = kernel_sockets.net_ns(fd)
        try:
            inode = os.fstat(ns).st_ino
            its = self.listed(ns).get(d.ino)
        finally:
            os.close(ns)
        known = self._scope.namespaces.find("net", inode)
        if known is None:
            raise Unsupported([f"{d}: it was made in network namespace net:[{inode}], which has come up since"])
        if its is None:
            raise Unsupported([f"{d}: the kernel does not tell of it"])
        return known.ident, its

    def blockers(self, pids: set[int]) -> list[str]:
        """Kinds that are not supported and peers outside of the tree, one line each."""
        out = super().blockers(pids)
        for d in self.its.values():
            its = self.beside(d.ino).get(d.ino)
            if its is None:
                continue
            if refusal := _refusal(d, its.type):
                out.append(refusal)
            elif its.peer == 0 and self._scope.frozen:
                out += _closed_blocker(d, self.beside(d.ino))
            elif its.peer and its.peer not in self.its and not self._is_seen(its.peer):
                out.append(
                    f"{d}: its peer socket:[{its.peer}] is outside of the tree: "
                    "dump both together, or disconnect it before the dump"
                )
        return out

    def _is_seen(self, ino: int) -> bool:
        """Has a task of the tree that socket?"""
        return any(d.ino == ino and stat.S_ISSOCK(d.mode) for its in self._scope.seen.values() for d in its.values())

    def write(self, images: Images, message: Any) -> None:
        """Write what waits in them, while the tree is frozen."""
        new = message("sk_packet_entry")
        packets = []
        for ident, waiting in self._waiting.items():
            for data, sender in waiting:
                packet = new(id_for=ident, length=len(data))
                if sender:
                    packet.sender = sender
                packets.append((packet, data))
        if packets:
            images.write_payload(sk_queue.KIND, (), packets)


def _closed_blocker(d: Descriptor, told: dict[int, unix_diag.UnixSocket]) -> list[str]:
    """A peer that is closed is made again for a moment, to be connected to: its abstract name has to be free."""
    with closing(Held(d)) as held:
        name = _sun_path(kernel_sockets.peer(held.fd))
    if not name or name[0] or all(its.name != name for its in told.values()):
        return []
    what = f"it is connected to a socket that is closed, and whose name another one has now, @{_shown(name)}"
    return [f"{d}: {what}: connect it anew before the dump"]


def _shown(name: bytes) -> str:
    return shown(os.fsdecode(name[1:]))


def blockers(entries: list[Any]) -> list[str]:
    """What images have of this kind that cannot be restored, one line each. BadImage for what no socket can be."""
    out = []
    inodes = {entry.usk.ino for entry in entries}
    for entry in entries:
        it, what = entry.usk, f"file {entry.id:#x}"
        if not entry.HasField("usk"):
            raise BadImage(_IMAGE, 0, f"{what} is a unix socket without a unix_sk_entry; dump again")
        if it.type != so.SOCK_DGRAM:
            out.append(f"{_IMAGE}: {what}: unix sockets of type {it.type} are not supported yet")
            continue
        if it.uflags or (it.peer and it.peer not in inodes):
            out.append(f"{_IMAGE}: {what}: a unix socket with a peer outside of the tree: not supported yet")
        for name in (it.name, it.closed_peer):
            if len(name) > _LONGEST or (name and name[0] and (len(name) == 1 or name.find(b"\0") != len(name) - 1)):
                raise BadImage(_IMAGE, 0, f"{what}: no unix socket can have the name {name!r}; dump again")
        if it.HasField("name_dir") and not text(it.name_dir).startswith("/"):
            raise BadImage(_IMAGE, 0, f"{what}: its directory {shown(text(it.name_dir))!r} is no full path; dump again")
        sockets.check(it.opts, what)
    return out


class Objects:
    """Those of images: the first use of any makes all, because they are each other's peers."""

    __slots__ = ("_maker", "_opener")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._maker: Maker | None = None

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """All sockets, file id -> descriptor."""
        image = self._opener.image
        if flags is not None:
            raise BadImage(image, 0, f"file {entry.id:#x} is a socket, and used like one with a path; dump again")
        from engine.files.unix_make import Maker

        self._maker = Maker(self._opener, [its.usk for its in self._opener.files.values() if its.type == TYPE])
        return self._maker.make()

    def undo(self) -> None:
        """The restore has failed: names that it has made go."""
        if self._maker:
            self._maker.undo()
