"""sock_diag(7): what the kernel tells about sockets of the network namespace that the engine is in, by their inodes."""

from __future__ import annotations

import errno
from struct import Struct

from engine.errors import KernelError
from engine.kernel import netlink

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST = Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, of any address
# struct inet_diag_msg: family, state, port (big-endian), expiry, queues, user, inode
_HEAD = Struct("=BBxx2s46xIIIII")
_SHUTDOWN = 8  # INET_DIAG_SHUTDOWN
_ALL = 0xFFFFFFFF


class Row:
    """One socket: its state (TCP_*), bytes that wait (as memory), what is shut down (1: receiving, 2: sending)."""

    __slots__ = ("port", "shutdown", "state", "turn", "waiting")

    def __init__(self, state: int, port: bytes, waiting: int, shutdown: int) -> None:
        self.state, self.port, self.waiting, self.shutdown = state, port, waiting, shutdown
        self.turn = 0  # of those that share a port: which was bound when, from 1 on; 0 for one that has it alone


def inet(family: int, protocol: int) -> dict[int, Row]:
    """All that have a port, by inode. KernelError where the kernel has no sock_diag for them."""
    what = f"sock_diag of family {family}, protocol {protocol}"
    out: dict[int, Row] = {}
    sharing: dict[bytes, list[Row]] = {}
    with netlink.Netlink(_NETLINK_SOCK_DIAG) as link:
        try:
            messages = link.dump(_BY_FAMILY, _REQUEST.pack(family, protocol, 0, _ALL), what)
        except KernelError as e:
            if e.errno != errno.ENOENT:
                raise
            raise KernelError(what, e.errno, "the kernel needs CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG") from e
    for message in messages:
        body = netlink.body(message)
        _, state, port, _, waiting, _, _, inode = _HEAD.unpack_from(body)
        attributes = netlink.attributes(body, _HEAD.size)
        out[inode] = Row(state, port, waiting, netlink.number(attributes.get(_SHUTDOWN)))
        sharing.setdefault(port, []).append(out[inode])
    for rows in sharing.values():
        for turn, row in enumerate(reversed(rows), 1):  # who was bound last comes first
            row.turn = turn if len(rows) > 1 else 0
    return out
