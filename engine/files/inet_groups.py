"""Multicast groups that sockets have joined (ip(7), ipv6(7)), with the senders that they want to hear, or not to hear.

Nothing lists those of a socket: it is asked about each group that anybody has joined in its network namespace.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from _socket import if_nametoindex

from engine.errors import BadImage, EngineError, KernelError
from engine.kernel import proc, sockets
from engine.kernel.uapi import inet as ip
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_JOIN, _FILTER = 42, 48  # MCAST_JOIN_GROUP, MCAST_MSFILTER
_HEAD = struct.Struct("@I4x128sII")  # struct group_filter: device, group, mode, senders
_REQUEST = struct.Struct("@I4x128s")  # struct group_req
_ADDRESS = 128  # bytes, of struct sockaddr_storage
_INCLUDE = 1  # MCAST_INCLUDE
_MOST = 64  # senders that are asked for first


class Group:
    """One of a namespace: the device's name and index, and its address as on the wire."""

    __slots__ = ("address", "index", "name")

    def __init__(self, name: str, index: int, address: bytes) -> None:
        self.name, self.index, self.address = name, index, address


def joined() -> list[Group]:
    """All of the network namespace that the engine is in (/proc/net/igmp, igmp6)."""
    out = []
    name, index = "", 0
    for line in proc.read_text("/proc/thread-self/net/igmp").splitlines()[1:]:
        words = line.split()
        if line[0] != "\t":
            index, name = int(words[0]), words[1].rstrip(":")
        else:
            out.append(Group(name, index, int(words[0], 16).to_bytes(4, sys.byteorder)))
    if os.path.exists("/proc/thread-self/net/igmp6"):
        for line in proc.read_text("/proc/thread-self/net/igmp6").splitlines():
            words = line.split()
            out.append(Group(words[1], int(words[0]), bytes.fromhex(words[2])))
    return out


def dump(fd: int, isk: Any, groups: list[Group]) -> None:
    """Fill the groups of an inet_sk_entry."""
    for group in groups:
        if len(group.address) == 16 and isk.family != so.AF_INET6:
            continue
        found = _senders(fd, group, _MOST)
        if found is not None:
            mode, senders = found
            isk.groups.add(ifname=group.name, address=group.address, include=mode == _INCLUDE, sources=senders)


def _senders(fd: int, group: Group, room: int) -> tuple[int, list[bytes]] | None:
    """Mode and senders; None where the socket is not in the group."""
    head = _HEAD.pack(group.index, _packed(group.address), 0, room)
    try:
        answer = sockets.ask(fd, _level(group.address), _FILTER, head + bytes(room * _ADDRESS))
    except KernelError as e:
        if e.errno in (errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENODEV):
            return None
        raise
    _, _, mode, count = _HEAD.unpack_from(answer)
    if count > room:
        return _senders(fd, group, count)
    first, size = (4, 4) if len(group.address) == 4 else (8, 16)
    at = range(_HEAD.size + first, _HEAD.size + first + count * _ADDRESS, _ADDRESS)
    return mode, [answer[i : i + size] for i in at]


def _level(address: bytes) -> int:
    return ip.SOL_IP if len(address) == 4 else ip.SOL_IPV6


def _packed(address: bytes) -> bytes:
    """As a struct sockaddr_storage without a port."""
    if len(address) == 4:
        return struct.pack("=H2x4s", so.AF_INET, address)
    return struct.pack("=H6x16s", so.AF_INET6, address)


def check(isk: Any, what: str) -> None:
    """BadImage for groups that no such socket can be in."""
    for group in isk.groups:
        sizes = {len(address) for address in (group.address, *group.sources)}
        if sizes != {4} and (sizes != {16} or isk.family != so.AF_INET6):
            raise BadImage(
                "files.img", 0, f"{what}: a multicast group of addresses of {sorted(sizes)} bytes; dump again"
            )


def restore(fd: int, isk: Any, what: str) -> None:
    """Join them, in the network namespace of the socket. EngineError for a device that is not there."""
    for group in isk.groups:
        try:
            index = if_nametoindex(group.ifname)
        except OSError as e:
            raise EngineError(
                f"{what}: there is no device {group.ifname!r}, on which it was in a multicast group"
            ) from e
        level, address = _level(group.address), _packed(group.address)
        sockets.put(fd, level, _JOIN, _REQUEST.pack(index, address), what)
        if group.include or group.sources:
            mode = _INCLUDE if group.include else 0
            raw = b"".join(_packed(source).ljust(_ADDRESS, b"\0") for source in group.sources)
            sockets.put(fd, level, _FILTER, _HEAD.pack(index, address, mode, len(group.sources)) + raw, what)
