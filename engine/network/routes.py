"""Addresses, routes, rules and neighbours: raw netlink messages, as `ip addr save` and its like store them.

Each of these images is a magic of 32 bits and messages (ip-address(8), ip-route(8), ip-rule(8)); to restore one is to
send them again. What the kernel has made by itself, and the images do not have, goes.
"""

from __future__ import annotations

import errno
import os
import struct
from struct import Struct

from engine.errors import BadImage, KernelError
from engine.kernel import netlink
from engine.kernel.uapi import rtnetlink as rt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.kernel.netlink import Netlink

_AF_INET, _AF_INET6 = 2, 10
_ADDR = Struct(rt.IFADDRMSG)
_ROUTE = Struct(rt.RTMSG)
_NEIGH = Struct(rt.NDMSG)
_MAGICS = {"IFADDR": 0x47361222, "ROUTE": 0x45311224, "ROUTE6": 0x45311224, "RULE": 0x71706986}
# What a route or a rule has by circumstance: RTA_CACHEINFO, the state of next hops; FRA_PAD and the like never differ.
_RTA_CACHEINFO = 12
_RTA_NH_ID = 30
_NEXTHOP_STATE = rt.RTNH_F_DEAD | rt.RTNH_F_LINKDOWN | 0x40  # RTNH_F_TRAP


def blockers(route: Netlink) -> list[str]:
    """What cannot be dumped, one line each."""
    for family in (_AF_INET, _AF_INET6):
        for message in _routes(route, family):
            if _RTA_NH_ID in netlink.attributes(netlink.body(message), _ROUTE.size):
                return ["a route uses a nexthop object (ip nexthop), which is not supported: give it its next hops"]
    return []


def dump(images: Images, ident: int, route: Netlink, entry: Any) -> None:
    """Write the four images; what CRIU has no place for goes into the netns_entry."""
    _store(images, "IFADDR", ident, route.dump(rt.RTM_GETADDR, _ADDR.pack(0, 0, 0, 0, 0), "a dump of addresses"))
    _store(images, "ROUTE", ident, _routes(route, _AF_INET))
    _store(images, "ROUTE6", ident, _routes(route, _AF_INET6))
    _store(images, "RULE", ident, _rules(route, _AF_INET))
    entry.rules6 = b"".join(map(_padded, _rules(route, _AF_INET6)))
    if kept := _neighbours(route):
        entry.neighbours = b"".join(map(_padded, kept))


def check(images: Images, ident: int) -> None:
    """BadImage for an image that is not what it should be."""
    for kind in _MAGICS:
        load(images, kind, ident)


def load(images: Images, kind: str, ident: int) -> list[bytes]:
    """The messages of an image; none where there is no such image."""
    if not images.exists(kind, ident):
        return []
    name = images.name(kind, ident)
    fd = images.open_raw(kind, ident)
    try:
        data = b""
        while part := os.read(fd, 1 << 20):
            data += part
    finally:
        os.close(fd)
    if not data:
        return []
    if data[:4] != struct.pack("=I", _MAGICS[kind]):
        raise BadImage(name, 0, f"the magic is {data[:4].hex()}: this is no dump of `ip ... save`")
    return _messages(data[4:], name)


def _messages(data: bytes, name: str) -> list[bytes]:
    try:
        out = list(netlink.messages(data))
        for message in out:
            kind, _ = netlink.head(message)
            body = netlink.body(message)
            shape = {rt.RTM_NEWADDR: _ADDR, rt.RTM_NEWROUTE: _ROUTE, rt.RTM_NEWRULE: _ROUTE, rt.RTM_NEWNEIGH: _NEIGH}
            if kind not in shape:
                raise ValueError(f"a message of type {kind} does not belong here")
            if len(body) < shape[kind].size:
                raise ValueError(f"a message of {len(body)} bytes is too short")
            netlink.attributes(body, shape[kind].size)
    except ValueError as e:
        raise BadImage(name, 4, str(e)) from e
    return out


def restore_addresses(images: Images, ident: int, route: Netlink) -> None:
    """Those of the image, and no others."""
    present = {_address(m): m for m in route.dump(rt.RTM_GETADDR, _ADDR.pack(0, 0, 0, 0, 0), "a dump of addresses")}
    wanted = {_address(m): m for m in load(images, "IFADDR", ident)}
    for key, message in present.items():
        if key not in wanted:
            _tolerant(route, rt.RTM_DELADDR, 0, netlink.body(message), "the removal of an address", errno.EADDRNOTAVAIL)
    # As they were added: those of IPv6 are told the last one first
    inorder = [x for x in wanted if x[0] != _AF_INET6] + [x for x in wanted if x[0] == _AF_INET6][::-1]
    for key in inorder:
        message = wanted[key]
        if key in present and _same_address(present[key], message):
            continue
        _add_address(route, netlink.body(message))


def _add_address(route: Netlink, body: bytes) -> None:
    family, length, _, _, index = _ADDR.unpack_from(body)
    its = netlink.attributes(body, _ADDR.size)
    value = its.get(rt.IFA_LOCAL, its.get(rt.IFA_ADDRESS, b""))
    what = f"address {_shown(family, value)}/{length} of link {index}"
    flags = netlink.number(its.get(rt.IFA_FLAGS), body[2])
    create = rt.NLM_F_CREATE | rt.NLM_F_REPLACE
    if family != _AF_INET6 or flags & (rt.IFA_F_TENTATIVE | rt.IFA_F_NODAD):
        route.request(rt.RTM_NEWADDR, create, body, what)
        return
    # It was valid before: it is at once, and then as if it had been found to be
    quiet = dict(its)
    quiet[rt.IFA_FLAGS] = struct.pack("=I", flags | rt.IFA_F_NODAD)
    head = _ADDR.pack(family, length, body[2] | rt.IFA_F_NODAD, body[3], index)
    route.request(rt.RTM_NEWADDR, create, head + _packed(quiet), what)
    route.request(rt.RTM_NEWADDR, rt.NLM_F_REPLACE, body, what)


def _address(message: bytes) -> tuple[object, ...]:
    body = netlink.body(message)
    family, length, _, _, index = _ADDR.unpack_from(body)
    its = netlink.attributes(body, _ADDR.size)
    return family, length, index, its.get(rt.IFA_LOCAL), its.get(rt.IFA_ADDRESS)


def _same_address(one: bytes, other: bytes) -> bool:
    def rest(message: bytes) -> tuple[object, ...]:
        body = netlink.body(message)
        its = netlink.attributes(body, _ADDR.size)
        lifetimes = its.pop(rt.IFA_CACHEINFO, b"")[:8]  # preferred, valid; then when it was made and changed
        return body[:8], sorted(its.items()), lifetimes

    return rest(one) == rest(other)


def restore_routes(ctx: Context, images: Images, ident: int, route: Netlink) -> None:
    """Those of the images, and in the tables that these have no others that the kernel makes."""
    for kind, family in (("ROUTE", _AF_INET), ("ROUTE6", _AF_INET6)):
        if not images.exists(kind, ident):
            continue
        wanted = {_normal_route(m): netlink.body(m) for m in load(images, kind, ident)}
        present = {_normal_route(m): netlink.body(m) for m in _routes(route, family)}
        for key, body in present.items():
            if key not in wanted:
                _tolerant(route, rt.RTM_NEWROUTE + 1, 0, body, "the removal of a route", errno.ESRCH)
        _add_routes(ctx, route, [body for key, body in wanted.items() if key not in present])


def _add_routes(ctx: Context, route: Netlink, bodies: list[bytes]) -> None:
    """Routes need others to reach their gateways: those without first, then as long as more can be added."""
    todo = sorted(bodies, key=_has_gateway)
    while todo:
        left, refused = [], None
        for body in todo:
            try:
                flags = rt.NLM_F_CREATE | rt.NLM_F_APPEND
                route.request(rt.RTM_NEWROUTE, flags, _clean_route(body), f"route {_route_shown(body)}")
            except KernelError as e:
                if e.errno == errno.EEXIST:
                    continue
                if e.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL):
                    raise
                left.append(body)
                refused = e
        if len(left) == len(todo) and refused:
            raise refused
        todo = left


def _has_gateway(body: bytes) -> int:
    its = netlink.attributes(body, _ROUTE.size)
    return int(any(kind in its for kind in (rt.RTA_GATEWAY, rt.RTA_MULTIPATH, rt.RTA_VIA)))


def _route_shown(body: bytes) -> str:
    its = netlink.attributes(body, _ROUTE.size)
    to = _shown(body[0], its[1]) if 1 in its else "default"
    return f"{to}/{body[1]} of link {netlink.number(its.get(rt.RTA_OIF))}"


def _clean_route(body: bytes) -> bytes:
    """Without what the kernel only tells."""
    its = netlink.attributes(body, _ROUTE.size)
    its.pop(_RTA_CACHEINFO, None)
    *first, flags = _ROUTE.unpack_from(body)
    return _ROUTE.pack(*first, flags & ~_NEXTHOP_STATE) + _packed(its)


def _normal_route(message: bytes) -> bytes:
    body = netlink.body(message)
    its = netlink.attributes(body, _ROUTE.size)
    its.pop(_RTA_CACHEINFO, None)
    its.pop(20, None)  # RTA_PREF is there or not by version of the kernel
    *first, flags = _ROUTE.unpack_from(body)
    return _ROUTE.pack(*first, flags & ~_NEXTHOP_STATE) + _packed(dict(sorted(its.items())))


def restore_rules(images: Images, ident: int, route: Netlink, entry: Any) -> None:
    """Those of the image, and no others; of IPv6 only where the images tell."""
    name = images.name("NETNS", ident)
    wanted: dict[int, list[bytes]] = {}
    if images.exists("RULE", ident):
        wanted[_AF_INET] = load(images, "RULE", ident)
    if entry.HasField("rules6"):
        wanted[_AF_INET6] = _messages(entry.rules6, name)
    for family, messages in wanted.items():
        bodies = [netlink.body(m) for m in messages]
        present = [netlink.body(m) for m in _rules(route, family)]
        for body in present:
            if body not in bodies:
                route.request(rt.RTM_DELRULE, 0, body, "the removal of a routing rule")
        for body in bodies:
            if body not in present:
                route.request(rt.RTM_NEWRULE, rt.NLM_F_CREATE | rt.NLM_F_EXCL, body, "a routing rule")


def restore_neighbours(images: Images, ident: int, route: Netlink, entry: Any) -> None:
    """The permanent ones, and proxies."""
    for message in _messages(entry.neighbours, images.name("NETNS", ident)):
        flags = rt.NLM_F_CREATE | rt.NLM_F_REPLACE
        route.request(rt.RTM_NEWNEIGH, flags, netlink.body(message), "a permanent neighbour")


def _routes(route: Netlink, family: int) -> list[bytes]:
    """Without cached ones, and those that the kernel keeps in the local table."""
    out = []
    for message in route.dump(rt.RTM_GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "a dump of routes"):
        body = netlink.body(message)
        _, _, _, _, table, protocol, _, _, flags = _ROUTE.unpack_from(body)
        table = netlink.number(netlink.attributes(body, _ROUTE.size).get(rt.RTA_TABLE), table)
        if flags & rt.RTM_F_CLONED or (table == rt.RT_TABLE_LOCAL and protocol == rt.RTPROT_KERNEL):
            continue
        out.append(message)
    return out


def _rules(route: Netlink, family: int) -> list[bytes]:
    return route.dump(rt.RTM_GETRULE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "a dump of routing rules")


def _neighbours(route: Netlink) -> list[bytes]:
    """Those that somebody has entered by hand."""
    kept = []
    for flags in (0, rt.NTF_PROXY):
        for message in route.dump(rt.RTM_GETNEIGH, _NEIGH.pack(0, 0, 0, flags, 0), "a dump of neighbours"):
            family, _, state, its_flags, _ = _NEIGH.unpack_from(netlink.body(message))
            if family in (_AF_INET, _AF_INET6) and (state & rt.NUD_PERMANENT or its_flags & rt.NTF_PROXY):
                kept.append(message)
    return kept


def _store(images: Images, kind: str, ident: int, messages: Iterable[bytes]) -> None:
    fd = images.create_raw(kind, ident)
    try:
        data = struct.pack("=I", _MAGICS[kind]) + b"".join(map(_padded, messages))
        while data:
            data = data[os.write(fd, data) :]
    except OSError as e:
        raise KernelError(f"write({images.name(kind, ident)})", e.errno or 0) from e
    finally:
        os.close(fd)


def _tolerant(route: Netlink, kind: int, flags: int, body: bytes, what: str, gone: int) -> None:
    try:
        route.request(kind, flags, body, what)
    except KernelError as e:
        if e.errno != gone:  # it went with another one
            raise


def _packed(its: dict[int, bytes]) -> bytes:
    return b"".join(netlink.attribute(kind, value) for kind, value in its.items())


def _padded(message: bytes) -> bytes:
    return message + bytes(-len(message) % 4)


def _shown(family: int, value: bytes) -> str:
    if family == _AF_INET and len(value) == 4:
        return ".".join(map(str, value))
    return ":".join(f"{value[i]:02x}{value[i + 1]:02x}" for i in range(0, len(value) - 1, 2))
