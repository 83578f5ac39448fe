"""What the kernel tells of sockets, by inode numbers (sock_diag(7)), in the network namespace the engine is in."""

from __future__ import annotations

import errno
from struct import Struct

from engine.errors import KernelError
from engine.kernel import netlink

AF_UNIX = 1
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = Struct("=BBHIIIII")  # struct unix_diag_req: family, protocol, pad, states, inode, show, cookie
_ANSWER = Struct("=BBBBIII")  # struct unix_diag_msg: family, type, state, pad, inode, cookie
_QUEUES = Struct("=II")
_NAME, _PEER, _QUEUE, _SHUTDOWN = 0, 2, 4, 6  # UNIX_DIAG_*
_SHOW = 0x01 | 0x04 | 0x10  # UDIAG_SHOW_NAME, _PEER, _RQLEN; how it is shut down is always told
_ANY = 0xFFFFFFFF


class UnixSocket:
    """One of AF_UNIX. `peer` is an inode number: 0 for that of one that is closed, None for none.

    `name` is sun_path: "" is unnamed, an abstract name begins with NUL, a path has one at its end.
    """

    __slots__ = ("ino", "name", "peer", "sent", "shutdown", "state", "type")

    def __init__(self, message: bytes) -> None:
        """An answer, with its head."""
        body = netlink.body(message)
        _, self.type, self.state, _, self.ino, _, _ = _ANSWER.unpack_from(body)
        its = netlink.attributes(body, _ANSWER.size)
        self.name = its.get(_NAME, b"")
        if self.name and self.name[0]:
            self.name = self.name.partition(b"\0")[0] + b"\0"
        self.peer = netlink.number(its[_PEER]) if _PEER in its else None
        # bytes of memory that wait with others (unix_outq_len)
        self.sent = _QUEUES.unpack(its[_QUEUE])[1] if _QUEUE in its else 0
        self.shutdown = netlink.number(its.get(_SHUTDOWN))


def unix_sockets() -> dict[int, UnixSocket]:
    """All of AF_UNIX in the namespace, by inode number; KernelError."""
    body = _REQUEST.pack(AF_UNIX, 0, 0, _ANY, 0, _SHOW, _ANY, _ANY)
    what = "sock_diag(AF_UNIX)"
    with netlink.Netlink(_NETLINK_SOCK_DIAG) as link:
        try:
            found = link.dump(_SOCK_DIAG_BY_FAMILY, body, what)
        except KernelError as e:
            if e.errno != errno.ENOENT:
                raise
            raise KernelError(what, e.errno, "the kernel needs CONFIG_UNIX_DIAG") from e
    return {socket.ino: socket for socket in map(UnixSocket, found)}
