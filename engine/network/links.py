"""The links of a network namespace, as netdev-ID.img has them: what they are, and how they are told."""

from __future__ import annotations

import os
import sys
from struct import Struct

from engine.images.schema import set_text
from engine.kernel import netlink
from engine.kernel.uapi import rtnetlink as rt
from engine.network import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from engine.context import Context
    from engine.kernel.netlink import Netlink
    from engine.namespaces.table import Namespace

# enum nd_type
LOOPBACK, VETH, TUN, EXTLINK, VENET, BRIDGE, MACVLAN, SIT = range(1, 9)
_TYPES = {"veth": VETH, "tun": TUN, "bridge": BRIDGE, "macvlan": MACVLAN, "sit": SIT}
# Kinds that CRIU's images have no type for: made of their IFLA_INFO_KIND and IFLA_INFO_DATA, as told.
OTHERS = ("dummy", "ifb", "ipip", "ip6tnl", "gre", "gretap", "ip6gre", "ip6gretap", "vti", "vti6", "vxlan")

_INFO = Struct(rt.IFINFOMSG)
_ARPHRD_LOOPBACK = 772
NSID_HEAD = bytes(4)  # struct rtgenmsg, padded
_EUI64 = 0  # IN6_ADDR_GEN_MODE_EUI64

# What can be set of a bridge, and of its ports: IFLA_BR_* and IFLA_BRPORT_*, without what the kernel only tells.
BRIDGE_DATA = (1, 2, 3, 4, 5, 6, 7, 8, 9, 20, *range(22, 40), *range(41, 47))
PORT_DATA = (*range(2, 11), 12, 25, *range(27, 35), 37, 39)
PORT_NUMBER = 18  # IFLA_BRPORT_NO: the order in which they became ports


class Link:
    """One link, as RTM_GETLINK tells it."""

    __slots__ = ("attributes", "data", "flags", "hardware", "index", "kind", "name", "port")

    def __init__(self, message: bytes) -> None:
        body = netlink.body(message)
        _, self.hardware, self.index, self.flags, _ = _INFO.unpack_from(body)
        self.attributes = netlink.attributes(body, _INFO.size)
        self.name = netlink.string(self.attributes[rt.IFLA_IFNAME])
        info = netlink.attributes(self.attributes.get(rt.IFLA_LINKINFO, b""))
        self.kind = netlink.string(info.get(rt.IFLA_INFO_KIND, b""))
        self.data = netlink.attributes(info.get(rt.IFLA_INFO_DATA, b""))
        # IFLA_INFO_SLAVE_DATA: what holds of it as a port of its master
        self.port = netlink.attributes(info.get(5, b""))

    @property
    def master(self) -> int:
        """The index of its master, or 0."""
        return netlink.number(self.attributes.get(rt.IFLA_MASTER))

    @property
    def peer(self) -> int:
        """The index of the link that it is tied to, its own where there is none."""
        return netlink.number(self.attributes.get(rt.IFLA_LINK), self.index)

    @property
    def peer_nsid(self) -> int | None:
        """The number that this namespace has for the one that `peer` is in; None: its own."""
        value = self.attributes.get(rt.IFLA_LINK_NETNSID)
        return None if value is None else int.from_bytes(value, sys.byteorder, signed=True)

    @property
    def addr_gen_mode(self) -> int:
        """How IPv6 addresses are made by themselves (IN6_ADDR_GEN_MODE_*)."""
        af = netlink.attributes(self.attributes.get(rt.IFLA_AF_SPEC, b""))
        inet6 = netlink.attributes(af.get(10, b""))
        return netlink.number(inet6.get(rt.IFLA_INET6_ADDR_GEN_MODE), _EUI64)


def collect(route: Netlink) -> list[Link]:
    """All links of the namespace that the socket is in, by index."""
    body = _INFO.pack(0, 0, 0, 0, 0)
    return sorted(map(Link, route.dump(rt.RTM_GETLINK, body, "a dump of links (RTM_GETLINK)")), key=lambda x: x.index)


def numbers(route: Netlink, namespaces: Sequence[Namespace]) -> dict[int, int]:
    """The numbers by which the namespace that the socket is in knows some, each with that of the images (ident)."""
    out = {}
    for ns in namespaces:
        fd = os.open(f"/proc/{ns.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = route.ask(rt.RTM_GETNSID, NSID_HEAD + netlink.attribute(rt.NETNSA_FD, fd), f"the number of {ns}")
        finally:
            os.close(fd)
        value = netlink.attributes(netlink.body(answer), len(NSID_HEAD)).get(rt.NETNSA_NSID, b"")
        number = int.from_bytes(value, sys.byteorder, signed=True)
        if value and number >= 0:
            out[number] = ns.ident
    return out


def blockers(links: list[Link], external: frozenset[str]) -> list[str]:
    """Those that cannot be dumped, one line each. `external`: names of --external netdev[NAME]."""
    out = []
    for link in links:
        if link.hardware == _ARPHRD_LOOPBACK or link.kind in _TYPES or link.kind in OTHERS or link.name in external:
            continue
        what = f"a {link.kind} device is not supported" if link.kind else "a device of hardware cannot be dumped"
        out.append(
            f"link {link.name}: {what}: remove it, or move another one in its place at restore: "
            f"--external netdev[{link.name}] at dump, and netdev[{link.name}]:DEVICE at restore"
        )
    return out


def entry(
    ctx: Context,
    link: Link,
    ident: int,
    nsids: dict[int, int],
    external: frozenset[str],
    held: Mapping[str, tuple[int, int, int]],
) -> Any:
    """The net_device_entry of a link of namespace `ident`; `nsids`: namespaces' idents by their numbers there.

    Of tun devices that are `held` by files of the tree there is what these tell.
    """
    e = ctx.schema.message("net_device_entry")()
    e.type = LOOPBACK if link.hardware == _ARPHRD_LOOPBACK else _TYPES.get(link.kind, EXTLINK)
    if link.name in external:
        e.type = EXTLINK
    e.ifindex = link.index
    e.mtu = netlink.number(link.attributes.get(rt.IFLA_MTU))
    e.flags = link.flags
    set_text(e, "name", link.name)
    address = link.attributes.get(rt.IFLA_ADDRESS, b"")
    if address and e.type != LOOPBACK:
        e.address = address
    sysctl.dump(ctx, e.conf4, sysctl.conf("ipv4", link.name))
    sysctl.dump(ctx, e.conf6, sysctl.conf("ipv6", link.name))
    e.peer_ifindex = link.peer
    peer = ident if link.peer_nsid is None else nsids.get(link.peer_nsid)
    if peer is not None:
        e.peer_nsid = peer
    if link.master:
        e.master = link.master
    if e.type == MACVLAN:
        e.macvlan.mode = netlink.number(link.data.get(rt.IFLA_MACVLAN_MODE))
        if flags := netlink.number(link.data.get(rt.IFLA_MACVLAN_FLAGS)):
            e.macvlan.flags = flags
    if e.type == TUN:
        from engine.network import tun

        tun.dump(e.tun, link, held.get(link.name))
    if e.type == SIT:
        from engine.network import sit

        sit.dump(e.sit, link.data)
    _more(e, link)
    return e


def _more(e: Any, link: Link) -> None:
    """What CRIU's images do not have; only what is not so by itself."""
    if e.type == EXTLINK and link.kind:
        e.kind = link.kind
    if e.type == BRIDGE or e.kind:
        for number, value in link.data.items():
            if e.type != BRIDGE or number in BRIDGE_DATA:
                e.link_data.add(type=number, value=value)
    for number, value in link.port.items():
        if number in PORT_DATA or number == PORT_NUMBER:
            e.port_data.add(type=number, value=value)
    if alias := link.attributes.get(rt.IFLA_IFALIAS):
        set_text(e, "alias", netlink.string(alias))
    if group := netlink.number(link.attributes.get(rt.IFLA_GROUP)):
        e.group = group
    e.txqlen = netlink.number(link.attributes.get(rt.IFLA_TXQLEN))
    if mode := link.addr_gen_mode:
        e.addr_gen_mode = mode
    e.tx_queues = netlink.number(link.attributes.get(rt.IFLA_NUM_TX_QUEUES), 1)
    e.rx_queues = netlink.number(link.attributes.get(rt.IFLA_NUM_RX_QUEUES), 1)
    broadcast = link.attributes.get(rt.IFLA_BROADCAST, b"")
    if broadcast not in (b"\xff" * len(broadcast), bytes(len(broadcast))):
        e.broadcast = broadcast
