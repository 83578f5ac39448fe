"""What waits in a socket: sk-queues.img. Nothing is taken out at a dump (MSG_PEEK, SO_PEEK_OFF: socket(7))."""

from __future__ import annotations

import errno
from _socket import MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, socket

from engine.errors import BadImage, KernelError
from engine.kernel import sockets
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images

KIND = "SK_QUEUES"
_ROOM = 1 << 16  # bytes for a datagram, at first
_OFF = -1  # of SO_PEEK_OFF: there is none


def datagrams(fd: int, what: str) -> list[tuple[bytes, bytes]]:
    """Those of an AF_UNIX socket, each with the name of its sender as images have it. KernelError.

    One without any bytes that somebody has looked at before is passed over by the kernel, but for the first of all.
    """
    # the socket is the task's: another descriptor of it is closed by whoever has it
    one = socket(fileno=fd)
    before = sockets.number(fd, so.SOL_SOCKET, so.SO_PEEK_OFF) or 0
    out: list[tuple[bytes, bytes]] = []
    try:
        sockets.put(fd, so.SOL_SOCKET, so.SO_PEEK_OFF, _OFF, what)
        first = _peek(one, 0)
        if first is None:
            return []
        if not first[0]:
            out.append(first)
        at = 0
        sockets.put(fd, so.SOL_SOCKET, so.SO_PEEK_OFF, 0, what)
        while (found := _peek(one, at)) is not None:
            out.append(found)
            at += len(found[0])
        return out
    except OSError as e:
        raise KernelError("recvmsg(MSG_PEEK)", e.errno or 0, what) from e
    finally:
        one.detach()
        sockets.put(fd, so.SOL_SOCKET, so.SO_PEEK_OFF, before, what)


def _peek(one: socket, at: int) -> tuple[bytes, bytes] | None:
    """The one at an offset, which is that of SO_PEEK_OFF; None behind the last."""
    room = _ROOM
    while True:
        try:
            data, _, flags, sender = one.recvmsg(room, 0, MSG_PEEK | MSG_DONTWAIT)
        except OSError as e:
            if e.errno != errno.EAGAIN:
                raise
            return None
        if not flags & MSG_TRUNC:
            return data, _name(sender)
        room *= 2
        sockets.put(one.fileno(), so.SOL_SOCKET, so.SO_PEEK_OFF, at)


def _name(sender: Any) -> bytes:
    """As in unix_sk_entry: an abstract one begins with NUL, a path has one at its end."""
    if not sender:
        return b""
    return sender if isinstance(sender, bytes) else sender.encode("utf-8", "surrogateescape") + b"\0"


def read(images: Images, known: set[int]) -> dict[int, list[tuple[bytes, bytes]]]:
    """By file id: contents, and the names of senders. BadImage for those of no file that is `known`."""
    out: dict[int, list[tuple[bytes, bytes]]] = {}
    if images.exists(KIND):
        for entry, payload in images.read_payload(KIND):
            name = images.name(KIND)
            if entry.id_for not in known:
                what = f"a packet for file {entry.id_for:#x}, which is no socket: truncated, or images of two dumps"
                raise BadImage(name, 0, what)
            if entry.scm:
                raise BadImage(name, 0, f"file {entry.id_for:#x}: descriptors in its queue are not supported yet")
            out.setdefault(entry.id_for, []).append((payload, entry.sender))
    return out
