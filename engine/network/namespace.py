"""Network namespaces (network_namespaces(7)): netns-ID.img, netdev-ID.img and the raw images beside them."""

from __future__ import annotations

import os

from engine.blocks import ExitStack
from engine.errors import EngineError
from engine.images.schema import text
from engine.kernel.namespaces import FLAGS, entered, setns
from engine.kernel.netlink import Netlink
from engine.network import external as net_external
from engine.network import filter, others, routes, sysctl
from engine.network import links as net_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.table import Namespace
    from engine.network.make import Maker

_IMAGE = "NETNS"
_ALL, _DEFAULT = ("all", "all"), ("default", "def")  # pseudo devices, and how their fields begin


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """What there is in it that cannot be dumped, one line each."""
    if _is_left_out(ctx, ns):
        return []
    external = frozenset(net_external.given(ctx.options, "netdev"))
    with entered(ns.pid, "net"), Netlink() as route:
        found = net_links.blockers(net_links.collect(route), external) + routes.blockers(route) + filter.blockers()
    return [f"{ns}: {what}" for what in found]


def dump(
    ctx: Context,
    images: Images,
    ns: Namespace,
    all_: Sequence[Namespace] = (),
    tuns: Mapping[tuple[int, str], tuple[int, int, int]] | None = None,
) -> None:
    """Write all of its images; `all_` are the network namespaces of the tree, `tuns` what holders of devices tell."""
    held = {name: its for (ident, name), its in (tuns or {}).items() if ident == ns.ident}
    entry = ctx.schema.message("netns_entry")()
    key = net_external.given(ctx.options, "net").get(str(ns.inode))
    if key is not None:
        entry.ext_key = key
    if _is_left_out(ctx, ns):
        if key is not None:
            images.write(_IMAGE, (ns.ident,), [entry])
        return
    external = frozenset(net_external.given(ctx.options, "netdev"))
    with entered(ns.pid, "net"), Netlink() as route:
        nsids = net_links.numbers(route, all_)
        for nsid, target in nsids.items():
            entry.nsids.add(target_ns_id=target, netnsid_value=nsid)
        links = net_links.collect(route)
        entries = [net_links.entry(ctx, link, ns.ident, nsids, external, held) for link in links]
        images.write("NETDEV", (ns.ident,), entries)
        routes.dump(images, ns.ident, route, entry)
        for device, prefix in (_DEFAULT, _ALL):
            for family, number in (("ipv4", "4"), ("ipv6", "6")):
                sysctl.dump(ctx, getattr(entry, f"{prefix}_conf{number}"), sysctl.conf(family, device))
        sysctl.dump(ctx, entry.unix_conf, sysctl.UNIX)
        sysctl.dump(ctx, entry.ipv4_sysctl, sysctl.IPV4)
        others.dump(entry)
        filter.dump(images, ns.ident)
    images.write(_IMAGE, (ns.ident,), [entry])


def restore(ctx: Context, images: Images, ident: int) -> None:
    """Nothing more: it is filled from outside, where devices come from, and the tools of netfilter are."""


def restore_outside(ctx: Context, images: Images, held: Mapping[int, int], there: Collection[int] = ()) -> None:
    """Fill the tree's namespaces, with the engine's own credentials, mounts and processes.

    `held` are descriptors of them, by number; those of `there` have existed before, and are left as they are. The
    caller's parent is in the network namespace that external links come from.
    """
    outside = os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fill(ctx, images, held, there, outside)
    finally:
        os.close(outside)


def fill(ctx: Context, images: Images, held: Mapping[int, int], there: Collection[int], outside: int) -> None:
    """The same; `outside` is a descriptor of the network namespace that external links come from.

    First all links, because they may lead from one namespace into another. This process ends in one of them.
    """
    from engine.network import make

    entries = {ident: _read(ctx, images, ident) for ident in held if ident not in there}
    todo = {ident: entry for ident, entry in entries.items() if entry is not None}
    links = {ident: images.read("NETDEV", ident) for ident in todo}
    for ident, entry in todo.items():
        _check(images, ident, entry, links[ident])
    with ExitStack() as undo:
        makers = {}
        for ident in todo:
            setns(held[ident], FLAGS["net"])
            route = undo.enter_context(Netlink())
            makers[ident] = undo.enter_context(make.Maker(ctx, route, ident, links, held, outside))
        for ident, maker in makers.items():
            maker.number(todo[ident].nsids)
        for ident, maker in makers.items():
            setns(held[ident], FLAGS["net"])
            _sysctls(ctx, todo[ident], *_ALL)  # others follow it
            maker.create()  # before the defaults: not all of these can be unset
        for maker in makers.values():
            maker.enslave()
        for maker in makers.values():
            maker.create_above()
        for ident, maker in makers.items():
            setns(held[ident], FLAGS["net"])
            _configure(ctx, todo[ident], maker)
        for ident, maker in makers.items():
            setns(held[ident], FLAGS["net"])
            maker.carriers()  # they depend on other ends; when one comes the kernel gives addresses their routes again
            _fill(ctx, images, ident, todo[ident], maker.route)
        for maker in makers.values():
            maker.settle()


def _read(ctx: Context, images: Images, ident: int) -> Any:
    """The netns_entry; None for a namespace that stays empty."""
    if not images.exists(_IMAGE, ident):
        return None  # --empty-ns net: the caller fills it
    entry = images.read_one(_IMAGE, ident)
    if entry.ext_key:
        name = text(entry.ext_key)
        raise EngineError(
            f"{images.name(_IMAGE, ident)}: the namespace {name!r} was external to the dump: give one: "
            f"--inherit-fd fd[N]:{name}, or --join-ns net:FILE"
        )
    return None if "net" in ctx.options.empty_ns else entry


def _configure(ctx: Context, entry: Any, maker: Maker) -> None:
    """The sysctls of the namespace that this process is in, and its links, when all of these are there."""
    _sysctls(ctx, entry, *_DEFAULT)
    sysctl.restore(ctx, entry.unix_conf, sysctl.UNIX)
    sysctl.restore(ctx, entry.ipv4_sysctl, sysctl.IPV4)
    others.restore(ctx, entry)
    maker.configure()


def _fill(ctx: Context, images: Images, ident: int, entry: Any, route: Netlink) -> None:
    """Whatever else is in the namespace that this process is in, when its links are up."""
    routes.restore_addresses(images, ident, route)
    routes.restore_routes(ctx, images, ident, route)
    routes.restore_rules(images, ident, route, entry)
    routes.restore_neighbours(images, ident, route, entry)
    filter.restore(ctx, images, ident)


def _sysctls(ctx: Context, entry: Any, device: str, prefix: str) -> None:
    sysctl.restore(ctx, getattr(entry, f"{prefix}_conf4"), sysctl.conf("ipv4", device))
    sysctl.restore(ctx, getattr(entry, f"{prefix}_conf6"), sysctl.conf("ipv6", device))
    if not getattr(entry, f"{prefix}_conf4"):  # the oldest images
        sysctl.restore_numbers(ctx, getattr(entry, f"{prefix}_conf"), device)


def _check(images: Images, ident: int, entry: Any, links: list[Any]) -> None:
    from engine.network import make

    name = images.name(_IMAGE, ident)
    others.check(entry, name)
    for device, prefix in (_DEFAULT, _ALL):
        for family, number in (("ipv4", "4"), ("ipv6", "6")):
            sysctl.check(getattr(entry, f"{prefix}_conf{number}"), sysctl.conf(family, device), name)
    make.check(links, images.name("NETDEV", ident))
    routes.check(images, ident)
    filter.check(images, ident)


def _is_left_out(ctx: Context, ns: Namespace) -> bool:
    """External, or to be empty when restored: then what is in it is not dumped."""
    return "net" in ctx.options.empty_ns or str(ns.inode) in net_external.given(ctx.options, "net")
