"""Sharing with mounts outside of the tree (--external mnt[]:sm, --enable-external-masters, --enable-external-sharing).

Who puts a mount into the group of another one has to be capable in the namespaces of both, which nobody is in a user
namespace; nor may everybody there look into what is mounted from outside. A process of the engine that stays outside
does both, by descriptors that are sent to it.
"""

from __future__ import annotations

import os

from engine.errors import EngineError, KernelError
from engine.kernel import mounts, namespaces, process
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGKILL
from engine.mounts import image
from engine.mounts.external import External

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from engine.context import Context
    from engine.images.files import Images
    from engine.mounts.image import Planned

_INT = 4  # bytes of a descriptor or an id
_MOST = 8192  # bytes of a message: a path, and a bit
_OPEN, _JOIN = b"o", b"j"
_OK = b"+"


class Peers:
    """A process that stays outside, and mounts there by the ids of those in the images that are to be their peers."""

    __slots__ = ("_end", "_known", "pid")

    def __init__(self, end: _socket.socket, known: dict[int, str], pid: int) -> None:
        self._end = end
        self._known = known
        self.pid = pid

    def __contains__(self, mnt_id: int) -> bool:
        return mnt_id in self._known

    def join(self, mount: Planned, fd: int) -> None:
        """Put a private mount into the group, and behind the master, of the one outside. EngineError."""
        ident = mount.entry.mnt_id
        said, _ = self._ask(_JOIN + ident.to_bytes(_INT, "little"), fd)
        if said != _OK:
            path = self._known[ident]
            raise EngineError(
                f"{mount} cannot share with {path}: {os.fsdecode(said) or 'its process has ended'}: "
                f"is that a mount point, and shared? mount --make-shared {path}"
            )

    def open(self, fd: int, name: str) -> int:
        """As `mounts.exact`, with the engine's own capabilities; OSError."""
        said, found = self._ask(_OPEN + os.fsencode(name), fd)
        if found < 0:
            raise OSError(int(said or b"5"), os.strerror(int(said or b"5")), name)
        return found

    def _ask(self, what: bytes, fd: int) -> tuple[bytes, int]:
        _send(self._end, what, fd)
        return _receive(self._end)

    def close(self) -> None:
        """Let go of it: it ends."""
        self._end.close()


def start(ctx: Context, images: Images, idents: list[int]) -> Peers | None:
    """In the engine's own namespaces; None if nothing is external or shares with anything outside. EngineError."""
    external = External(ctx.options, dumping=False)
    planned = [mount for ident in idents for mount in image.read(images, ident)]
    groups = {m.entry.shared_id for m in planned if m.entry.shared_id}
    known: dict[int, str] = {}
    masters: dict[tuple[int, int], str] = {}  # by device and group
    for mount in planned:
        path = external.path(mount)
        if path is None and mount.parent is None and mount.ident == idents[0]:
            path = ctx.options.root or "/"
        master = mount.entry.master_id if mount.entry.master_id not in groups else 0
        if path is not None and (external.shares(mount) or external.may_be_slave(external.key_of(mount))):
            if master:
                masters.setdefault((mount.entry.root_dev, master), path)
            if master or external.shares(mount):
                known[mount.entry.mnt_id] = path
    for mount in planned:  # CRIU's images: what is a bind of an external one has no key
        path = masters.get((mount.entry.root_dev, mount.entry.master_id))
        if path is not None:
            known.setdefault(mount.entry.mnt_id, path)
    if not known and not any(map(external.has, planned)):
        return None
    import _socket

    ours, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    clones = {ident: _clone(path) for ident, path in known.items()}
    pid = namespaces.fork()
    if not pid:
        try:
            ours.close()
            process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
            _serve(its, clones)
        finally:
            os._exit(0)
    its.close()
    for fd in clones.values():
        os.close(fd)
    return Peers(ours, known, pid)


def _clone(path: str) -> int:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as e:
        raise EngineError(f"a mount is to share with {path}: {e.strerror}") from e
    try:
        return mounts.clone(fd)
    finally:
        os.close(fd)


def _serve(end: _socket.socket, clones: dict[int, int]) -> None:
    while True:
        what, fd = _receive(end)
        if not what:
            return
        answer, found = _OK, -1
        try:
            if what[:1] == _JOIN:
                mounts.set_group(clones[int.from_bytes(what[1:], "little")], fd)
            else:
                found = mounts.exact(fd, os.fsdecode(what[1:]), os.O_PATH)
        except KernelError as e:
            answer = os.fsencode(str(e))
        except OSError as e:
            answer = str(e.errno).encode()
        _send(end, answer, found)
        for one in (fd, found):
            if one >= 0:
                os.close(one)


def _send(end: _socket.socket, what: bytes, fd: int) -> None:
    import _socket

    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(_INT, "little"))] if fd >= 0 else []
    end.sendmsg([what], rights)


def _receive(end: _socket.socket) -> tuple[bytes, int]:
    import _socket

    what, rights, _, _ = end.recvmsg(_MOST, _socket.CMSG_SPACE(_INT), _socket.MSG_CMSG_CLOEXEC)
    return what, int.from_bytes(rights[0][2][:_INT], "little") if rights else -1
