"""Sockets by their descriptors (socket(2), getsockopt(2), bind(2)); addresses are the bytes of their sockaddr."""

from __future__ import annotations

import errno
import os
import sys
from fcntl import ioctl
from struct import Struct

from engine.errors import KernelError
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.uapi import socket as so

_SIZE = Struct("=i")
_ADDRESS_ROOM = 128  # bytes, of struct sockaddr_storage
_LACKS = (errno.EOPNOTSUPP, errno.ENOPROTOOPT)


def make(family: int, kind: int, protocol: int) -> int:
    """socket(2), close-on-exec."""
    return check(lib.zd_socket(family, kind, protocol), f"socket({family}, {kind}, {protocol})")


def get(fd: int, level: int, name: int, size: int = 4) -> bytes | None:
    """getsockopt(2): up to `size` bytes; None where this kind of socket has no such option."""
    value = ffi.new("char[]", size)
    got = lib.zd_getsockopt(fd, level, name, value, size)
    if -got in _LACKS:
        return None
    return bytes(ffi.buffer(value, check(got, f"getsockopt({level}, {name})")))


def ask(fd: int, level: int, name: int, question: bytes) -> bytes:
    """getsockopt(2) of an option whose value says what is asked for. KernelError."""
    value = ffi.new("char[]", question)
    size = len(question)
    got = check(lib.zd_getsockopt(fd, level, name, value, size), f"getsockopt({level}, {name})")
    return bytes(ffi.buffer(value, got))


def get_all(fd: int, wanted: tuple[tuple[int, int, int], ...]) -> list[bytes]:
    """Answers about many options (level, number, bytes), to be compared, and read by `value_of`."""
    stride = _SIZE.size + max(size for _, _, size in wanted)
    out = ffi.new("char[]", stride * len(wanted))
    lib.zd_getsockopts(fd, ffi.new("int[]", [n for its in wanted for n in its]), len(wanted), out, stride)
    raw = bytes(ffi.buffer(out))
    return [raw[at : at + stride] for at in range(0, len(raw), stride)]


def value_of(answer: bytes) -> bytes | None:
    """The value that an answer has; None where there is no such option. KernelError for any other failure."""
    size = _SIZE.unpack_from(answer)[0]
    return None if -size in _LACKS else answer[_SIZE.size : _SIZE.size + check(size, "getsockopt()")]


def number(fd: int, level: int, name: int) -> int | None:
    """The same of an option that is an int."""
    value = get(fd, level, name)
    return None if value is None else int.from_bytes(value, sys.byteorder, signed=True)


def put(fd: int, level: int, name: int, value: bytes | int, what: str = "") -> None:
    """setsockopt(2)."""
    data = (value & 0xFFFFFFFF).to_bytes(4, sys.byteorder) if isinstance(value, int) else value
    check(lib.zd_setsockopt(fd, level, name, data, len(data)), f"setsockopt({level}, {name}, {value!r})", what)


def get_filter(fd: int) -> list[int]:
    """The classic filter of a socket: words, each a struct sock_filter. KernelError EACCES for eBPF."""
    count = check(lib.zd_get_filter(fd, ffi.NULL, 0), "getsockopt(SO_GET_FILTER)")
    if not count:
        return []
    words = ffi.new("unsigned long long[]", count)
    check(lib.zd_get_filter(fd, words, count), "getsockopt(SO_GET_FILTER)")
    return list(words)


def attach_filter(fd: int, words: list[int], what: str = "") -> None:
    """SO_ATTACH_FILTER, of what `get_filter` returns."""
    raw = ffi.new("unsigned long long[]", words)
    check(lib.zd_attach_filter(fd, raw, len(words)), f"setsockopt(SO_ATTACH_FILTER, {len(words)})", what)


def address(fd: int) -> bytes:
    """getsockname(2)."""
    return _name(fd, 0)


def peer(fd: int) -> bytes:
    """getpeername(2); nothing for a socket that has no peer."""
    return _name(fd, 1)


def _name(fd: int, which: int) -> bytes:
    room = ffi.new("char[]", _ADDRESS_ROOM)
    got = lib.zd_sockname(fd, which, room, _ADDRESS_ROOM)
    if which and got == -errno.ENOTCONN:
        return b""
    return bytes(ffi.buffer(room, check(got, "getpeername()" if which else "getsockname()")))


def bind(fd: int, where: bytes, what: str = "") -> None:
    """bind(2)."""
    check(lib.zd_bind(fd, where, len(where)), "bind()", what)


def connect(fd: int, where: bytes, what: str = "") -> None:
    """connect(2)."""
    check(lib.zd_connect(fd, where, len(where)), "connect()", what)


def shutdown(fd: int, how: int) -> None:
    """shutdown(2) of one that need not be connected: it is shut down all the same."""
    done = lib.zd_shutdown(fd, how)
    if done != -errno.ENOTCONN:
        check(done, f"shutdown({how})")


def unsent(fd: int) -> int:
    """Bytes that are to be sent, as memory (SIOCOUTQ)."""
    try:
        raw = ioctl(fd, so.SIOCOUTQ, bytes(4))
    except OSError as e:
        raise KernelError("ioctl(SIOCOUTQ)", e.errno or 0) from e
    return int.from_bytes(raw, sys.byteorder)


def net_ns(fd: int) -> int:
    """A descriptor of the network namespace that a socket, or a file of /dev/net/tun, was made in (SIOCGSKNS)."""
    try:
        return int(ioctl(fd, so.SIOCGSKNS))
    except OSError as e:
        raise KernelError("ioctl(SIOCGSKNS)", e.errno or 0) from e


def net_inode(fd: int) -> int:
    """The inode of that namespace."""
    ns = net_ns(fd)
    try:
        return os.fstat(ns).st_ino
    finally:
        os.close(ns)
