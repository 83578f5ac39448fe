"""Links as netdev-ID.img has them, made again: what is not there yet, then what differs."""

from __future__ import annotations

import os
from struct import Struct

from engine.blocks import ExitStack
from engine.errors import BadImage, EngineError
from engine.images.schema import text
from engine.kernel import netlink
from engine.kernel.uapi import rtnetlink as rt
from engine.network import external as net_external
from engine.network import links, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from engine.context import Context
    from engine.kernel.netlink import Netlink

_INFO = Struct(rt.IFINFOMSG)
_CREATE = rt.NLM_F_CREATE | rt.NLM_F_EXCL
# Those that a user can set: IFF_UP, DEBUG, NOARP, PROMISC, ALLMULTI, MULTICAST, DYNAMIC
_FLAGS = 0x1 | 0x4 | rt.IFF_NOARP | rt.IFF_PROMISC | rt.IFF_ALLMULTI | rt.IFF_MULTICAST | rt.IFF_DYNAMIC
_MODE_NONE, _MODE_STABLE = 1, 2  # IN6_ADDR_GEN_MODE_*
_AF_INET6 = 10
# Told as a number, and given by being there: IFLA_VXLAN_TTL_INHERIT without a value, IFLA_VXLAN_REMCSUM_RX with any
_VXLAN_TTL_INHERIT = 28
_VXLAN_FLAGS = (_VXLAN_TTL_INHERIT, 22)
_ETH_ALEN = 6  # bytes
_PORT_COST = 3  # IFLA_BRPORT_COST


class Maker:
    """The links of the namespace that a socket is in. A context manager.

    `entries` are those of all namespaces that are made, by their numbers, of which `held` are descriptors; `outside`
    is one of the network namespace that external links come from.
    """

    __slots__ = ("_all", "_ctx", "_entries", "_held", "_ident", "_modes", "_outside", "_undo", "route")

    def __init__(
        self,
        ctx: Context,
        route: Netlink,
        ident: int,
        entries: Mapping[int, list[Any]],
        held: Mapping[int, int],
        outside: int,
    ) -> None:
        self.route = route
        self._ctx = ctx
        self._ident = ident
        self._all = entries
        self._entries = entries[ident]
        self._held = held
        self._outside = outside
        self._undo = ExitStack()
        self._modes: dict[int, int] = {}

    def __enter__(self) -> Maker:
        return self

    def __exit__(self, *rest: object) -> None:
        self._undo.close()

    def number(self, nsids: Iterable[Any]) -> None:
        """Give the other namespaces of the tree the numbers by which this one knew them, before it needs any."""
        for one in nsids:
            fd = self._held.get(one.target_ns_id)
            if fd is not None:
                body = links.NSID_HEAD + netlink.attribute(rt.NETNSA_FD, fd)
                body += netlink.attribute(rt.NETNSA_NSID, one.netnsid_value)
                what = f"number {one.netnsid_value} for network namespace {one.target_ns_id}"
                self.route.request(rt.RTM_NEWNSID, 0, body, what)

    def create(self) -> None:
        """Make the links that are not there, and need no others."""
        self._make([entry for entry in self._entries if not _is_above(entry)])

    def create_above(self) -> None:
        """Make those that are on others."""
        self._make([entry for entry in self._entries if _is_above(entry)])

    def enslave(self) -> None:
        """Give bridges the ports that are there: what is on a bridge is after these."""
        present = {link.index: link for link in links.collect(self.route)}
        for entry in sorted(self._entries, key=_port_number):
            if entry.ifindex in present and entry.master in present:
                self._enslave(entry, present[entry.ifindex])

    def _make(self, entries: Iterable[Any]) -> None:
        present = {link.name: link for link in links.collect(self.route)}
        for entry in entries:
            name = text(entry.name)
            if name not in present:
                self._create(entry, name)
                present = {link.name: link for link in links.collect(self.route)}
            if name not in present:
                raise EngineError(f"link {name}: it was made, and is not there")
            if present[name].index != entry.ifindex:
                raise EngineError(f"link {name} got the index {present[name].index} instead of {entry.ifindex}")

    def configure(self) -> None:
        """Give all of them what they had, up to being up."""
        fresh = {link.index: link for link in links.collect(self.route)}
        for entry in self._entries:
            self._configure(entry, fresh[entry.ifindex])
        for entry in self._entries:
            self._port(entry, fresh[entry.ifindex])
        fresh = {link.index: link for link in links.collect(self.route)}  # one may have lost IPv6 by its MTU
        for entry in self._entries:
            self._flags(entry, fresh[entry.ifindex])

    def carriers(self) -> None:
        """Links that are up have their carriers, if they will have any: to be asked for one by one makes it so."""
        for entry in self._entries:
            if entry.flags & rt.IFF_UP and entry.type != links.LOOPBACK:
                self.route.ask(rt.RTM_GETLINK, _INFO.pack(0, 0, entry.ifindex, 0, 0), f"link {text(entry.name)}")

    def settle(self) -> None:
        """When the addresses are there: how new ones come by themselves again."""
        for index, mode in self._modes.items():
            self._set(index, f"index {index}", "addrgenmode", _gen_mode(mode))

    def _create(self, entry: Any, name: str) -> None:
        external = {kind: net_external.given(self._ctx.options, kind) for kind in ("netdev", "veth", "macvlan")}
        if out := external["netdev"].get(name):
            self._move(entry, name, out)
        elif entry.type == links.VETH:
            self._veth(entry, name, external["veth"])
        elif entry.type == links.MACVLAN:
            self._macvlan(entry, name, external["macvlan"])
        elif entry.type == links.TUN:
            from engine.network import tun

            tun.create(entry, name)
        elif entry.type == links.BRIDGE:
            self._new(entry, name, "bridge")
        elif entry.type == links.SIT:
            from engine.network import sit

            self._new(entry, name, "sit", sit.data(entry.sit))
        elif entry.type == links.EXTLINK and entry.kind in links.OTHERS:
            # of some it can only be said when they are made
            address = netlink.attribute(rt.IFLA_ADDRESS, entry.address) if len(entry.address) == _ETH_ALEN else b""
            self._new(entry, name, entry.kind, _given(entry), address)
        else:
            raise EngineError(
                f"link {name}: it cannot be made: move a device in its place: --external netdev[{name}]:DEVICE"
            )

    def _new(self, entry: Any, name: str, kind: str, data: bytes = b"", also: bytes = b"") -> None:
        """A link of a kind, with its index."""
        info = netlink.attribute(rt.IFLA_INFO_KIND, kind)
        if data:
            info += netlink.nest(rt.IFLA_INFO_DATA, data)
        body = _INFO.pack(0, 0, entry.ifindex, 0, 0) + netlink.attribute(rt.IFLA_IFNAME, name) + also
        body += _queues(entry) + netlink.nest(rt.IFLA_LINKINFO, info)
        self.route.request(rt.RTM_NEWLINK, _CREATE, body, f"link {name} of kind {kind}")

    def _veth(self, entry: Any, name: str, external: Mapping[str, str]) -> None:
        if entry.HasField("peer_nsid") and entry.peer_nsid in self._all:
            peer = next((e for e in self._all[entry.peer_nsid] if e.ifindex == entry.peer_ifindex), None)
            if peer is None or peer.type != links.VETH:
                raise EngineError(f"link {name}: its other end, index {entry.peer_ifindex}, is not in the images")
            other = _INFO.pack(0, 0, peer.ifindex, 0, 0) + netlink.attribute(rt.IFLA_IFNAME, text(peer.name))
            if entry.peer_nsid != self._ident:
                other += netlink.attribute(rt.IFLA_NET_NS_FD, self._held[entry.peer_nsid])
            other += _queues(peer)
            self._new(entry, name, "veth", netlink.attribute(rt.VETH_INFO_PEER | rt.NLA_F_NESTED, other))
            return
        value = external.get(name)
        if not value:
            raise EngineError(
                f"link {name}: its other end was outside of the tree: say what to make there: "
                f"--external veth[{name}]:NAME or --external veth[{name}]:NAME@BRIDGE"
            )
        out, _, bridge = value.partition("@")
        other = _INFO.pack(0, 0, 0, 0, 0) + netlink.attribute(rt.IFLA_IFNAME, out)
        other += netlink.attribute(rt.IFLA_NET_NS_FD, self._outside)
        self._new(entry, name, "veth", netlink.attribute(rt.VETH_INFO_PEER | rt.NLA_F_NESTED, other))
        route = self._elsewhere(self._outside)
        index = _index(route, out)
        body = _INFO.pack(0, 0, index, rt.IFF_UP, rt.IFF_UP)
        if bridge:
            body += netlink.attribute(rt.IFLA_MASTER, _index(route, bridge))
        route.request(
            rt.RTM_NEWLINK, 0, body, f"link {out}, the other end of {name}" + (f", on {bridge}" * bool(bridge))
        )

    def _macvlan(self, entry: Any, name: str, external: Mapping[str, str]) -> None:
        data = netlink.attribute(rt.IFLA_MACVLAN_MODE, entry.macvlan.mode)
        if entry.macvlan.flags:
            data += netlink.attribute(rt.IFLA_MACVLAN_FLAGS, netlink.packed(entry.macvlan.flags, 2))
        address = netlink.attribute(rt.IFLA_ADDRESS, entry.address) if entry.address else b""
        if entry.HasField("peer_nsid") and entry.peer_nsid == self._ident:
            self._new(entry, name, "macvlan", data, address + netlink.attribute(rt.IFLA_LINK, entry.peer_ifindex))
            return
        out = external.get(name)
        if out:
            route = self._elsewhere(self._outside)
            below = _index(route, out)
        elif entry.HasField("peer_nsid") and entry.peer_nsid in self._held:
            route = self._elsewhere(self._held[entry.peer_nsid])
            below = entry.peer_ifindex
        else:
            raise EngineError(
                f"link {name}: the device below it was outside of the tree: name one: --external macvlan[{name}]:DEVICE"
            )
        body = _INFO.pack(0, 0, entry.ifindex, 0, 0) + netlink.attribute(rt.IFLA_IFNAME, name) + address
        body += netlink.attribute(rt.IFLA_LINK, below) + netlink.attribute(rt.IFLA_NET_NS_FD, self._own)
        info = netlink.attribute(rt.IFLA_INFO_KIND, "macvlan") + netlink.nest(rt.IFLA_INFO_DATA, data)
        body += netlink.nest(rt.IFLA_LINKINFO, info)
        route.request(rt.RTM_NEWLINK, _CREATE, body, f"link {name} of kind macvlan on {out or below}")

    def _move(self, entry: Any, name: str, out: str) -> None:
        """A device of outside becomes this one."""
        route = self._elsewhere(self._outside)
        body = _INFO.pack(0, 0, _index(route, out), 0, 0) + netlink.attribute(rt.IFLA_NET_NS_FD, self._own)
        body += netlink.attribute(rt.IFLA_IFNAME, name) + netlink.attribute(rt.IFLA_NEW_IFINDEX, entry.ifindex)
        route.request(rt.RTM_NEWLINK, 0, body, f"moving link {out} in as {name} with index {entry.ifindex}")

    @property
    def _own(self) -> int:
        return self._held[self._ident]

    def _elsewhere(self, fd: int) -> Netlink:
        other = net_external.Other(fd)
        self._undo.callback(other.close)
        return other.route

    def _set(self, index: int, name: str, what: str, body: bytes) -> None:
        self.route.request(rt.RTM_NEWLINK, 0, _INFO.pack(0, 0, index, 0, 0) + body, f"link {name}: {what}")

    def _configure(self, entry: Any, link: links.Link) -> None:
        """All that is no matter of other links; only what differs, so that nothing happens that need not."""
        has = link.attributes
        body = b""
        if entry.mtu != netlink.number(has.get(rt.IFLA_MTU)):
            body += netlink.attribute(rt.IFLA_MTU, entry.mtu)
        if entry.address and entry.address != has.get(rt.IFLA_ADDRESS):
            body += netlink.attribute(rt.IFLA_ADDRESS, entry.address)
        if entry.HasField("broadcast") and entry.broadcast != has.get(rt.IFLA_BROADCAST):
            body += netlink.attribute(rt.IFLA_BROADCAST, entry.broadcast)
        if entry.HasField("txqlen") and entry.txqlen != netlink.number(has.get(rt.IFLA_TXQLEN)):
            body += netlink.attribute(rt.IFLA_TXQLEN, entry.txqlen)
        if entry.group != netlink.number(has.get(rt.IFLA_GROUP)):
            body += netlink.attribute(rt.IFLA_GROUP, entry.group)
        if entry.alias:
            body += netlink.attribute(rt.IFLA_IFALIAS, os.fsencode(text(entry.alias)))
        if body:
            self._set(link.index, link.name, "mtu, address, queue length, group or alias", body)
        if entry.type == links.BRIDGE:
            self._bridge(entry, link)
        sysctl.restore_conf(self._ctx, entry, link.name)

    def _bridge(self, entry: Any, link: links.Link) -> None:
        changed = [a for a in entry.link_data if a.type in links.BRIDGE_DATA and link.data.get(a.type) != a.value]
        if changed:
            data = b"".join(netlink.attribute(a.type, a.value) for a in changed)
            info = netlink.attribute(rt.IFLA_INFO_KIND, "bridge") + netlink.nest(rt.IFLA_INFO_DATA, data)
            self._set(link.index, link.name, "what it does as a bridge", netlink.nest(rt.IFLA_LINKINFO, info))

    def _enslave(self, entry: Any, link: links.Link) -> None:
        if entry.master and entry.master != link.master:
            self._set(link.index, link.name, f"port of {entry.master}", netlink.attribute(rt.IFLA_MASTER, entry.master))

    def _port(self, entry: Any, link: links.Link) -> None:
        self._enslave(entry, link)
        if not entry.port_data:
            return
        fresh = next(x for x in links.collect(self.route) if x.index == link.index)
        changed = [a for a in entry.port_data if a.type in links.PORT_DATA and fresh.port.get(a.type) != a.value]
        changed = [a for a in changed if a.type != _PORT_COST or a.value != fresh.port.get(_PORT_COST)]
        if changed:
            data = b"".join(netlink.attribute(a.type, a.value) for a in changed)
            info = netlink.attribute(4, "bridge") + netlink.nest(5, data)  # IFLA_INFO_SLAVE_KIND, _DATA
            self._set(link.index, link.name, "what it does as a port", netlink.nest(rt.IFLA_LINKINFO, info))

    def _flags(self, entry: Any, link: links.Link) -> None:
        """Up, but without addresses that the kernel makes: it has had those that it has."""
        wanted, has = entry.flags & _FLAGS, link.flags & _FLAGS
        if wanted == has:
            return
        inet6 = _AF_INET6 in netlink.attributes(link.attributes.get(rt.IFLA_AF_SPEC, b""))
        if inet6 and entry.type != links.LOOPBACK:
            mode = entry.addr_gen_mode
            if not entry.HasField("txqlen"):  # not ours: it does not tell
                mode = _MODE_STABLE if any(c.HasField("sarg") for c in entry.conf6) else link.addr_gen_mode
            self._set(link.index, link.name, "addrgenmode none", _gen_mode(_MODE_NONE))
            self._modes[link.index] = mode
        body = _INFO.pack(0, 0, link.index, wanted, wanted ^ has)
        self.route.request(rt.RTM_NEWLINK, 0, body, f"link {link.name}: flags {wanted:#x}")
        sysctl.restore_mtu6(self._ctx, entry, link.name)


def check(entries: list[Any], image: str) -> None:
    """BadImage for what cannot be: names that are none, indexes or names twice."""
    names, indexes = set(), set()
    for entry in entries:
        name = text(entry.name)
        if not net_external.is_name(name) or name in ("all", "default"):
            raise BadImage(image, 0, f"{name!r} is no name of a link")
        if name in names or entry.ifindex in indexes or not 0 < entry.ifindex < 1 << 31:
            raise BadImage(image, 0, f"link {name}, index {entry.ifindex}: not the only one, or no index")
        names.add(name)
        indexes.add(entry.ifindex)
        for family, values in (("ipv4", entry.conf4), ("ipv6", entry.conf6)):
            sysctl.check(values, sysctl.conf(family, name), image)


def _given(entry: Any) -> bytes:
    """IFLA_INFO_DATA as it is given, which is not always as it is told."""
    is_vxlan = entry.kind == "vxlan"
    out = b""
    for a in entry.link_data:
        if is_vxlan and a.type in _VXLAN_FLAGS:
            if any(a.value):
                out += netlink.attribute(a.type, b"" if a.type == _VXLAN_TTL_INHERIT else a.value)
        else:
            out += netlink.attribute(a.type, a.value)
    return out


def _is_above(entry: Any) -> bool:
    """Is it, or may it be, on another link?"""
    return bool(entry.type == links.MACVLAN or entry.kind)


def _port_number(entry: Any) -> int:
    """The order of ports; those without a number have none."""
    numbers = (a.value for a in entry.port_data if a.type == links.PORT_NUMBER)
    return netlink.number(next(numbers, None))


def _queues(entry: Any) -> bytes:
    if not entry.HasField("tx_queues"):
        return b""
    queues = netlink.attribute(rt.IFLA_NUM_TX_QUEUES, entry.tx_queues)
    return queues + netlink.attribute(rt.IFLA_NUM_RX_QUEUES, entry.rx_queues)


def _gen_mode(mode: int) -> bytes:
    inner = netlink.attribute(rt.IFLA_INET6_ADDR_GEN_MODE, bytes([mode]))
    return netlink.nest(rt.IFLA_AF_SPEC, netlink.nest(_AF_INET6, inner))


def _index(route: Netlink, name: str) -> int:
    """The index of a link outside."""
    for link in links.collect(route):
        if link.name == name:
            return int(link.index)
    raise EngineError(f"--external names the link {name}, which is not there")
