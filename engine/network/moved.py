"""Devices of the user's that a restore moves into the tree (--external netdev[IN]:OUT): if it fails, they come back.

With the last task of a network namespace what the kernel can make anew is gone, and a veth end takes the other with it.
"""

from __future__ import annotations

import os
from struct import Struct

from engine.kernel import netlink
from engine.kernel.namespaces import within
from engine.kernel.netlink import Netlink
from engine.kernel.uapi import rtnetlink as rt
from engine.network import links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INFO = Struct(rt.IFINFOMSG)
_KEPT = (rt.IFLA_ADDRESS, rt.IFLA_MTU, rt.IFLA_TXQLEN, rt.IFLA_GROUP)


class Moved:
    """`names` are those outside by those inside; `namespaces` the tree's, files or descriptors."""

    __slots__ = ("_its", "_namespaces", "_own")

    def __init__(self, names: Mapping[str, str], namespaces: Iterable[str | int]) -> None:
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._namespaces = [
            os.dup(one) if isinstance(one, int) else os.open(one, os.O_RDONLY | os.O_CLOEXEC) for one in namespaces
        ]
        with Netlink() as route:
            there = {link.name: link for link in links.collect(route)}
        self._its = {name: there[out] for name, out in names.items() if out in there}

    def back(self) -> None:
        """Whatever has been moved; KernelError."""
        for fd in self._namespaces:
            with within(fd, "net"), Netlink() as route:
                for link in links.collect(route):
                    if link.name in self._its:
                        self._return(route, link, self._its[link.name])

    def _return(self, route: Netlink, link: links.Link, was: links.Link) -> None:
        body = _INFO.pack(0, 0, link.index, 0, 0) + netlink.attribute(rt.IFLA_NET_NS_FD, self._own)
        body += netlink.attribute(rt.IFLA_IFNAME, was.name) + netlink.attribute(rt.IFLA_NEW_IFINDEX, was.index)
        route.request(rt.RTM_NEWLINK, 0, body, f"moving link {link.name} back as {was.name}")
        with within(self._own, "net"), Netlink() as outside:
            body = _INFO.pack(0, 0, was.index, was.flags & rt.IFF_UP, rt.IFF_UP)
            body += b"".join(netlink.attribute(kind, was.attributes[kind]) for kind in _KEPT if kind in was.attributes)
            outside.request(rt.RTM_NEWLINK, 0, body, f"link {was.name}: as it was")

    def close(self) -> None:
        """The tree is there, or is not to be."""
        for fd in (self._own, *self._namespaces):
            os.close(fd)
