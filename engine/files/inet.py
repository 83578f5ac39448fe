"""IPv4 and IPv6 sockets (ip(7), ipv6(7), udp(7)): addresses, options, what is shut down; isk.

Datagrams that wait are not in images, which have no place for where they came from. Sockets that share a port come back
in the order in which they were bound: it is the last one that the kernel gives a datagram to, or a group counts so.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from fcntl import F_SETFL, fcntl
from select import POLLHUP, POLLRDHUP, poll
from time import sleep

from engine.blocks import closing, suppress
from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files import inet_groups, kinds
from engine.files import sockets as common
from engine.files.ends import SETTABLE
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.files.held import Held
from engine.kernel import sock_diag, sockets
from engine.kernel.namespaces import within
from engine.kernel.uapi import inet as ip
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

TYPE = 4  # fd_types.INETSK
_IMAGE = "files.img"
_UNSENT_S, _STEP_S = 0.1, 0.005  # how long packets may take to leave
_NOBODY = bytes(16)  # AF_UNSPEC: who is connected is no longer (connect(2))
_READ, _WRITE = 1, 2  # sk_shutdown
_WORDS = {so.AF_INET: 1, so.AF_INET6: 4}  # of an address
_PROTOCOLS = {so.IPPROTO_UDP: "UDP", so.IPPROTO_UDPLITE: "UDP-Lite"}


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for what is to be sent yet, which nothing tells, and for eBPF filters.

    Only of who is frozen: a copy of the socket, which tells these, would keep the port of one that its task closes.
    """
    if not scope.frozen:
        return
    with closing(Held(d)) as held:
        common.check_options(held.fd, str(d))
        left = _UNSENT_S
        while unsent := sockets.unsent(held.fd):
            if left <= 0:
                raise Unsupported(
                    [
                        f"{d}: {unsent} bytes are still to be sent (UDP_CORK, MSG_MORE, or a neighbour that does not "
                        "answer), which cannot be dumped: send them first"
                    ]
                )
            sleep(_STEP_S)
            left -= _STEP_S


class Survey(common.Survey):
    """Those of a tree, and what a dump asks of their namespaces once."""

    __slots__ = ("_groups", "known")

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self._groups: dict[int, list[inet_groups.Group]] = {}
        self.known: dict[tuple[int, ...], list[bytes]] = {}  # options of new sockets

    def ask(self) -> dict[int, sock_diag.Row]:
        """Those that have a port."""
        out: dict[int, sock_diag.Row] = {}
        for family in _WORDS:
            out.update(sock_diag.inet(family, so.IPPROTO_UDP))
            with suppress(KernelError):  # a kernel that tells of UDP, and not of this, has none of them
                out.update(sock_diag.inet(family, so.IPPROTO_UDPLITE))
        return out

    def look(self, fd: int, ino: int) -> tuple[sock_diag.Row | None, list[inet_groups.Group]]:
        """Of a socket that has a port; and the multicast groups that anybody has joined in its namespace."""
        ns = sockets.net_ns(fd)
        try:
            inode = os.fstat(ns).st_ino
            if inode not in self._groups:
                with within(ns, "net"):
                    self._groups[inode] = inet_groups.joined()
            return self.listed(ns).get(ino), self._groups[inode]
        finally:
            os.close(ns)


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry."""
    entry.type = TYPE
    scope, isk = files.scope, entry.isk
    with closing(Held(d)) as held:
        fd = held.fd
        isk.id, isk.ino = entry.id, d.ino
        isk.family, isk.type, isk.proto = common.family_of(fd)
        isk.flags, isk.backlog = d.flags & ~O_CLOEXEC, 0
        if d.stat.st_uid or d.stat.st_gid:
            isk.uid, isk.gid = scope.uid(d.stat.st_uid), scope.gid(d.stat.st_gid)
        isk.src_port, source = _parsed(sockets.address(fd))
        common.dump_ns(fd, isk, str(d), scope, isk.src_port != 0)
        isk.dst_port, peer = _parsed(sockets.peer(fd) or bytes(28))
        isk.src_addr.extend(source)
        isk.dst_addr.extend((peer + [0] * 4)[: len(source)])
        survey: Survey = files.survey.of(kinds.module("inet"))
        row, groups = survey.look(fd, d.ino)
        isk.state = row.state if row else ip.CLOSE
        if shut := row.shutdown if row else _shut(fd):
            isk.shutdown = shut
        if row and row.turn:
            isk.bound = row.turn
        if row and row.waiting:
            scope.log.warn(f"{d}: datagrams wait in it, which images have no place for: restored, it has none")
        common.dump_options(fd, isk.opts, _more(isk), survey.known)
        _dump_ip(fd, isk)
        isk.tcp_opts.SetInParent()
        inet_groups.dump(fd, isk, groups)
        if isk.src_port and _needs_scope(isk):
            isk.ifname = isk.opts.so_bound_dev


def _parsed(address: bytes) -> tuple[int, list[int]]:
    """Port and address, in words, of a struct sockaddr_in or sockaddr_in6."""
    port = int.from_bytes(address[2:4], "big")
    raw = address[8:24] if int.from_bytes(address[:2], sys.byteorder) == so.AF_INET6 else address[4:8]
    return port, list(struct.unpack(f"={len(raw) // 4}I", raw))


def _packed(isk: Any, port: int, words: list[int]) -> bytes:
    """The scope of an address is its socket's device."""
    raw = struct.pack(f"={len(words)}I", *words)
    head: bytes = isk.family.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
    return head + (bytes(4) + raw + bytes(4) if isk.family == so.AF_INET6 else raw + bytes(8))


def _needs_scope(isk: Any) -> bool:
    """Is the address one of a link only?"""
    raw = struct.pack(f"={len(isk.src_addr)}I", *isk.src_addr)
    if isk.family != so.AF_INET6:
        return False
    return (raw[0] == 0xFE and raw[1] >> 6 == 2) or (raw[0] == 0xFF and raw[1] & 15 in (1, 2))


def _shut(fd: int) -> int:
    """What is shut down of one without a port; that it is for sending only nothing tells."""
    its = poll()
    its.register(fd, POLLRDHUP)
    events = dict(its.poll(0)).get(fd, 0)
    return _READ | _WRITE if events & POLLHUP else _READ if events & POLLRDHUP else 0


def _more(isk: Any) -> list[tuple[int, int, int]]:
    """The options that have no field: level, number, bytes."""
    tables = [(ip.SOL_IP, ip.IP_OPTIONS), (ip.SOL_UDP, ip.UDP_OPTIONS)]
    if isk.family == so.AF_INET6:
        tables += [(ip.SOL_IPV6, ip.IPV6_OPTIONS), (ip.SOL_IP, ip.MAPPED_OPTIONS)]  # the latter for IPv4 by them
    if isk.proto == so.IPPROTO_UDPLITE:
        tables[1] = (ip.SOL_UDPLITE, ip.UDP_OPTIONS | ip.UDPLITE_OPTIONS)
    return [(level, name, size) for level, options in tables for name, size in options.values()]


def _dump_ip(fd: int, isk: Any) -> None:
    """The options that have fields of their own; CRIU's images have those that are set, and every IPv4 socket's TTL."""
    is_v6 = isk.family == so.AF_INET6
    opts = isk.ip_opts
    opts.SetInParent()
    if is_v6:
        isk.v6only = bool(sockets.number(fd, ip.SOL_IPV6, ip.IPV6_V6ONLY))
    else:
        opts.ttl = sockets.number(fd, ip.SOL_IP, ip.IP_TTL) or 0
        if tos := sockets.number(fd, ip.SOL_IP, ip.IP_TOS):
            opts.tos = tos
    for field, (level, name) in _flags(is_v6).items():
        if sockets.number(fd, level, name):
            setattr(opts, field, True)


def _flags(is_v6: bool) -> dict[str, tuple[int, int]]:
    if is_v6:
        return {"freebind": (ip.SOL_IPV6, ip.IPV6_FREEBIND), "pktinfo": (ip.SOL_IPV6, ip.IPV6_RECVPKTINFO)}
    return {"freebind": (ip.SOL_IP, ip.IP_FREEBIND), "pktinfo": (ip.SOL_IP, ip.IP_PKTINFO)}


def blockers(entries: list[Any]) -> list[str]:
    """What images have of this kind that cannot be restored, one line each. BadImage for what no socket can be."""
    out = []
    for entry in entries:
        isk, what = entry.isk, f"file {entry.id:#x}"
        if not entry.HasField("isk"):
            raise BadImage(_IMAGE, 0, f"{what} is a socket without an inet_sk_entry; dump again")
        if isk.family not in _WORDS or isk.type != so.SOCK_DGRAM or isk.proto not in _PROTOCOLS:
            out.append(
                f"{_IMAGE}: {what}: sockets of family {isk.family}, type {isk.type}, protocol {isk.proto} "
                "are not supported yet"
            )
            continue
        for field in ("src", "dst"):
            words, port = getattr(isk, f"{field}_addr"), getattr(isk, f"{field}_port")
            if len(words) != _WORDS[isk.family] or port > 0xFFFF:
                raise BadImage(_IMAGE, 0, f"{what}: {field}_addr of {len(words)} words, port {port}; dump again")
        if isk.state not in (ip.ESTABLISHED, ip.CLOSE):
            raise BadImage(_IMAGE, 0, f"{what}: no UDP socket has state {isk.state}; dump again")
        common.check(isk.opts, what, _more(isk))
        inet_groups.check(isk, what)
    return out


class Objects:
    """The sockets of images. Those that share a port are made together, in the order in which they were bound."""

    __slots__ = ("_opener", "_sharing")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._sharing: dict[tuple[int, int, int], list[Any]] = {}
        for entry in opener.files.values():
            if entry.type == TYPE:
                self._sharing.setdefault(_place(entry), []).append(entry)
        for entries in self._sharing.values():
            entries.sort(key=lambda entry: (entry.isk.bound, entry.id))

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """A socket and those that share its port, file id -> descriptor."""
        if flags is not None:
            raise BadImage(_IMAGE, 0, f"file {entry.id:#x} is a socket, and used like one with a path; dump again")
        entries = self._sharing[_place(entry)] if entry.isk.src_port else [entry]
        out: dict[int, int] = {}
        try:
            for its in entries:
                with common.in_net(self._opener, its.isk.ns_id):
                    out[its.id] = sockets.make(its.isk.family, its.isk.type, its.isk.proto)
                    _restore(out[its.id], its, len(entries) > 1)
            for its in entries if len(entries) > 1 else ():
                value = int(its.isk.opts.reuseaddr)
                sockets.put(out[its.id], so.SOL_SOCKET, so.SO_REUSEADDR, value, f"file {its.id:#x}")
        except BaseException:
            for fd in out.values():
                os.close(fd)
            raise
        return out


def _place(entry: Any) -> tuple[int, int, int]:
    return entry.isk.ns_id, entry.isk.proto, entry.isk.src_port


def _restore(fd: int, entry: Any, shares: bool) -> None:
    """`shares`: others of the tree have the same port, as they could when they were bound; that is set again later."""
    isk, what = entry.isk, f"file {entry.id:#x}"
    if isk.uid or isk.gid:
        os.fchown(fd, isk.uid, isk.gid)
    if isk.family == so.AF_INET6:
        sockets.put(fd, ip.SOL_IPV6, ip.IPV6_V6ONLY, int(isk.v6only), what)
    _restore_ip(fd, isk, what)
    common.restore_options(fd, isk.opts, what, _more(isk))
    if isk.ifname and not isk.opts.so_bound_dev:
        sockets.put(fd, so.SOL_SOCKET, so.SO_BINDTODEVICE, os.fsencode(isk.ifname) + b"\0", what)
    if shares:
        sockets.put(fd, so.SOL_SOCKET, so.SO_REUSEADDR, 1, what)
    if isk.src_port or any(isk.src_addr):
        _bind(fd, isk, what)
        if not isk.src_port:  # it has been connected, and had a port from the kernel only as long
            sockets.connect(fd, _NOBODY, what)
    if isk.state == ip.ESTABLISHED:
        sockets.connect(fd, _packed(isk, isk.dst_port, list(isk.dst_addr)), f"{what}, to {_shown(isk, 'dst')}")
    inet_groups.restore(fd, isk, what)
    if isk.shutdown:
        sockets.shutdown(fd, {_READ: 0, _WRITE: 1}.get(isk.shutdown, 2))
    if isk.flags & SETTABLE:
        fcntl(fd, F_SETFL, isk.flags & SETTABLE)


def _restore_ip(fd: int, isk: Any, what: str) -> None:
    opts = isk.ip_opts
    if isk.family == so.AF_INET:
        for value, name in ((opts.tos, ip.IP_TOS), (opts.ttl, ip.IP_TTL)):  # a type of service sets a priority
            if value and sockets.number(fd, ip.SOL_IP, name) != value:
                sockets.put(fd, ip.SOL_IP, name, value, what)
    for field, (level, name) in _flags(isk.family == so.AF_INET6).items():
        if getattr(opts, field):
            sockets.put(fd, level, name, 1, what)


def _bind(fd: int, isk: Any, what: str) -> None:
    """An address may have gone since: then as if by IP_FREEBIND."""
    where = _packed(isk, isk.src_port, list(isk.src_addr))
    try:
        try:
            sockets.bind(fd, where)
        except KernelError as e:
            if e.errno != errno.EADDRNOTAVAIL:
                raise
            level, name = _flags(isk.family == so.AF_INET6)["freebind"]
            sockets.put(fd, level, name, 1, what)
            sockets.bind(fd, where)
            sockets.put(fd, level, name, int(isk.ip_opts.freebind), what)
    except KernelError as e:
        address = f"{what}: {_PROTOCOLS[isk.proto]} address {_shown(isk, 'src')}"
        if e.errno == errno.EADDRINUSE:
            raise EngineError(
                f"{address} is taken by a socket outside of the tree (`ss -aup` shows whose): close that one, or "
                "restore in a network namespace of its own (--join-ns net)"
            ) from e
        raise EngineError(f"{address} cannot be bound: {os.strerror(e.errno)}") from e


def _shown(isk: Any, which: str) -> str:
    """An address and port as people write them."""
    from _socket import inet_ntop

    words, port = getattr(isk, f"{which}_addr"), getattr(isk, f"{which}_port")
    text = inet_ntop(isk.family, struct.pack(f"={len(words)}I", *words))
    return f"[{text}]:{port}" if isk.family == so.AF_INET6 else f"{text}:{port}"
