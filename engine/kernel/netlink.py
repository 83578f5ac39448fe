"""netlink(7): requests, dumps and attributes; what they mean is for others to know."""

from __future__ import annotations

import errno
import os
import sys
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from struct import Struct

from engine.errors import KernelError
from engine.kernel.uapi import rtnetlink as rt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = Struct("=IHHII")  # length, type, flags, sequence number, port
_ATTRIBUTE = Struct("=HH")  # length, type
_ERROR = Struct("=i")
_SOL_NETLINK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 11, 12
_NLM_F_ACK_TLVS, _NLM_F_CAPPED = 0x200, 0x100
_NLMSGERR_ATTR_MSG = 1
_ROOM = 1 << 17  # bytes of a read: the kernel fills up to 32 KiB, or one message that is bigger
_DUMPS = 10  # attempts at a dump while others change what is dumped


class Netlink:
    """A socket in the network namespace that the engine is in now; it stays there. A context manager.

    `what` names requests in errors: what the kernel says of one (NLMSGERR_ATTR_MSG) is in the error too.
    """

    __slots__ = ("_sequence", "socket")

    def __init__(self, protocol: int = rt.NETLINK_ROUTE) -> None:
        try:
            self.socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
            self.socket.bind((0, 0))
            self.socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            if protocol == rt.NETLINK_ROUTE:
                self.socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        except OSError as e:
            raise KernelError(f"socket(AF_NETLINK, protocol {protocol})", e.errno or 0) from e
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def request(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Have something done; KernelError when it is not."""
        self._send(kind, rt.NLM_F_REQUEST | rt.NLM_F_ACK | flags, body, what)
        for _ in self._answers(what):
            pass

    def ask(self, kind: int, body: bytes, what: str) -> bytes:
        """The one message that answers a question, whole, with its head."""
        self._send(kind, rt.NLM_F_REQUEST | rt.NLM_F_ACK, body, what)
        answers = list(self._answers(what))
        if len(answers) != 1:
            raise KernelError(what, errno.EPROTO, f"{len(answers)} answers")
        return answers[0]

    def dump(self, kind: int, body: bytes, what: str) -> list[bytes]:
        """All messages of a dump, each whole, with its head. Done again while it was changed meanwhile."""
        for _ in range(_DUMPS):
            self._send(kind, rt.NLM_F_REQUEST | rt.NLM_F_DUMP, body, what)
            messages = list(self._answers(what))
            if not any(_HEAD.unpack_from(m)[2] & rt.NLM_F_DUMP_INTR for m in messages):
                return messages
        raise KernelError(what, errno.EAGAIN, "somebody else changes it all the time")

    def batch(self, requests: Iterable[tuple[int, int, bytes]], what: str) -> None:
        """Several requests (type, flags, body) in one go, as nfnetlink has it: all are done, or none.

        At least one has NLM_F_ACK; the answer to the last of these ends it.
        """
        parts = []
        awaited = 0
        for kind, flags, body in requests:
            self._sequence += 1
            if flags & rt.NLM_F_ACK:
                awaited = self._sequence
            parts.append(_message(kind, rt.NLM_F_REQUEST | flags, self._sequence, body))
        self._write(b"".join(parts), what)
        for _ in self._answers(what, awaited):
            pass

    def _send(self, kind: int, flags: int, body: bytes, what: str) -> None:
        self._sequence += 1
        self._write(_message(kind, flags, self._sequence, body), what)

    def _write(self, data: bytes, what: str) -> None:
        try:
            self.socket.sendto(data, (0, 0))
        except OSError as e:
            raise KernelError(what, e.errno or 0) from e

    def _answers(self, what: str, awaited: int = 0) -> Iterator[bytes]:
        """What comes for a request (by default the last one), up to the end of the dump or the acknowledgement."""
        awaited = awaited or self._sequence
        while True:
            try:
                data = self.socket.recv(_ROOM)
            except OSError as e:
                raise KernelError(what, e.errno or 0) from e
            for message in messages(data):
                _, kind, flags, sequence, _ = _HEAD.unpack_from(message)
                if sequence != awaited and kind != rt.NLMSG_ERROR:
                    continue
                if kind in (rt.NLMSG_ERROR, rt.NLMSG_DONE):
                    code = _ERROR.unpack_from(message, _HEAD.size)[0] if len(message) >= _HEAD.size + 4 else 0
                    if code:
                        raise KernelError(what, -code, _explanation(message, flags))
                    if sequence == awaited:
                        return
                    continue
                yield message


def messages(data: bytes) -> Iterator[bytes]:
    """The messages of a buffer, each with its head; ValueError where one is cut off."""
    at = 0
    while at < len(data):
        length = _HEAD.unpack_from(data, at)[0] if at + _HEAD.size <= len(data) else 0
        if length < _HEAD.size or at + length > len(data):
            raise ValueError(f"no netlink message at offset {at}")
        yield data[at : at + length]
        at += length + 3 & ~3


def head(message: bytes) -> tuple[int, int]:
    """A message's type and flags."""
    _, kind, flags, _, _ = _HEAD.unpack_from(message)
    return kind, flags


def body(message: bytes) -> bytes:
    """A message without its head."""
    return message[_HEAD.size :]


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """The attributes from an offset on, by type (without flags); ValueError where one is cut off."""
    out = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            raise ValueError(f"no netlink attribute at offset {at}")
        out[kind & rt.NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return out


def attribute(kind: int, value: bytes | int | str) -> bytes:
    """One attribute: bytes, a number of 32 bits, or a string with its NUL."""
    if isinstance(value, int):
        value = value.to_bytes(4, sys.byteorder, signed=value < 0)
    elif isinstance(value, str):
        value = os.fsencode(value) + b"\0"
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def nest(kind: int, *inner: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | rt.NLA_F_NESTED, b"".join(inner))


def number(value: bytes | None, default: int = 0) -> int:
    """An attribute's number, of whatever size, unsigned."""
    return default if value is None else int.from_bytes(value, sys.byteorder)


def packed(value: int, size: int) -> bytes:
    """A number as an attribute has it, in `size` bytes."""
    return value.to_bytes(size, sys.byteorder)


def string(value: bytes) -> str:
    """An attribute's string."""
    return os.fsdecode(value.partition(b"\0")[0])


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    size = _HEAD.size + len(body)
    return _HEAD.pack(size, kind, flags, sequence, 0) + body + bytes(-size % 4)


def _explanation(message: bytes, flags: int) -> str:
    """What the kernel says besides a number, or ""."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    at = _HEAD.size + _ERROR.size
    at += _HEAD.size if flags & _NLM_F_CAPPED else _HEAD.unpack_from(message, at)[0] + 3 & ~3
    try:
        return string(attributes(message, at).get(_NLMSGERR_ATTR_MSG, b""))
    except ValueError:
        return ""
