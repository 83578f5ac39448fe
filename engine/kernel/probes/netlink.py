"""As much of netlink(7) as the probes need."""

from __future__ import annotations

import os
import socket
from struct import pack, unpack_from

REQUEST, ACK, CREATE, EXCL, DUMP = 1, 4, 0x400, 0x200, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NESTED = 0x8000


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def message(kind: int, flags: int, body: bytes, seq: int = 1) -> bytes:
    """One message with its header."""
    return pack("IHHII", 16 + len(body), kind, flags | REQUEST, seq, 0) + body


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message's body, by kind."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        size, kind = unpack_from("HH", data)
        if size < 4:
            break
        found[kind & ~NESTED] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found


def ask(family: int, request: bytes, last: int = 1) -> list[tuple[int, bytes]]:
    """Send messages; every answer (kind, body) up to the end of the dump or the acknowledgement of `last`.

    OSError when the kernel says no to one of them.
    """
    found: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as s:
        s.settimeout(2)
        s.bind((0, 0))
        s.send(request)
        while True:
            data = s.recv(1 << 16)
            while len(data) >= 16:
                size, kind, _, seq, _ = unpack_from("IHHII", data)
                if kind in (NLMSG_ERROR, NLMSG_DONE):  # both hold an errno
                    error = -unpack_from("i", data, 16)[0]
                    if error > 0:
                        raise OSError(error, os.strerror(error), "netlink")
                if kind == NLMSG_DONE or (kind == NLMSG_ERROR and seq == last):
                    return found
                found.append((kind, data[16:size]))
                data = data[(size + 3) & ~3 :]
