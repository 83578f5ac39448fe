"""The sysctls of a network namespace: of all devices, of those to come, of each one, and its own."""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError
from engine.images.schema import set_text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from engine.context import Context

# The order is that of the entries in the images.
CONF4 = (
    *("accept_local", "accept_redirects", "accept_source_route", "arp_accept", "arp_announce", "arp_filter"),
    *("arp_ignore", "arp_notify", "bootp_relay", "disable_policy", "disable_xfrm", "force_igmp_version", "forwarding"),
    *("igmpv2_unsolicited_report_interval", "igmpv3_unsolicited_report_interval", "log_martians", "medium_id"),
    *("promote_secondaries", "proxy_arp", "proxy_arp_pvlan", "route_localnet", "rp_filter", "secure_redirects"),
    *("send_redirects", "shared_media", "src_valid_mark", "tag", "ignore_routes_with_linkdown"),
    *("drop_gratuitous_arp", "drop_unicast_in_l2_multicast"),
)
CONF6 = (
    *("accept_dad", "accept_ra", "accept_ra_defrtr", "accept_ra_from_local", "accept_ra_min_hop_limit"),
    *("accept_ra_mtu", "accept_ra_pinfo", "accept_ra_rt_info_max_plen", "accept_ra_rtr_pref", "accept_redirects"),
    *("accept_source_route", "autoconf", "dad_transmits", "disable_ipv6", "drop_unicast_in_l2_multicast"),
    *("drop_unsolicited_na", "force_mld_version", "force_tllao", "forwarding", "hop_limit"),
    *("ignore_routes_with_linkdown", "keep_addr_on_down", "max_addresses", "max_desync_factor"),
    *("mldv1_unsolicited_report_interval", "mldv2_unsolicited_report_interval", "mtu", "ndisc_notify"),
    *("optimistic_dad", "proxy_ndp", "regen_max_retry", "router_probe_interval", "router_solicitation_delay"),
    *("router_solicitation_interval", "router_solicitations", "stable_secret", "suppress_frag_ndisc"),
    *("temp_prefered_lft", "temp_valid_lft", "use_oif_addrs_only", "use_optimistic", "use_tempaddr"),
)
UNIX = ("unix/max_dgram_qlen",)
IPV4 = ("ipv4/ping_group_range",)
_NO_GROUP = "1\t0\n"  # ping_group_range of a fresh namespace; CRIU leaves it out

_ROOT = "/proc/sys/net/"
_STR, _INT = 5, 6  # enum SysctlType


def conf(family: str, device: str) -> list[str]:
    """The sysctls of a device ("all" and "default" are such too), below /proc/sys/net."""
    return [f"{family}/conf/{device}/{name}" for name in (CONF4 if family == "ipv4" else CONF6)]


class Sysctls:
    """Those of the namespace that the engine is in; each of their directories is opened once. A context manager."""

    __slots__ = ("_directories",)

    def __init__(self) -> None:
        self._directories: dict[str, int] = {}

    def __enter__(self) -> Sysctls:
        return self

    def __exit__(self, *rest: object) -> None:
        for fd in self._directories.values():
            os.close(fd)

    def open(self, name: str, flags: int) -> int:
        """Open one, by its name below /proc/sys/net; OSError."""
        where, _, last = name.rpartition("/")
        directory = self._directories.get(where)
        if directory is None:
            directory = self._directories[where] = os.open(_ROOT + where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return os.open(last, flags | os.O_CLOEXEC, dir_fd=directory)

    def read(self, name: str) -> str | None:
        """The value with its newline, or None: there is no such one here, or it has not been set (stable_secret)."""
        try:
            fd = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.fsdecode(os.read(fd, 4096))
        except OSError:
            if name.endswith("/stable_secret"):  # EIO: none was set
                return None
            raise
        finally:
            os.close(fd)

    def put(self, ctx: Context, name: str, value: str) -> None:
        """Set one, unless it is so already. A name that this kernel does not have is told, and left."""
        present = self.read(name)
        if present is not None and present.split() == value.split():
            return
        try:
            fd = self.open(name, os.O_WRONLY)
            try:
                os.write(fd, os.fsencode(value.strip() + "\n"))
            finally:
                os.close(fd)
        except FileNotFoundError:
            ctx.log.warn(f"this kernel has no sysctl net/{name}; it was {value.strip()}")
        except OSError as e:
            raise EngineError(f"cannot set net/{name} to {value.strip()}: {e.strerror}") from e


def dump(ctx: Context, entries: Any, names: Sequence[str]) -> None:
    """Add a sysctl_entry for each name; one without a value for those that the namespace does not have."""
    with Sysctls() as its:
        for name in names:
            entry = entries.add()
            entry.type = _STR if _is_string(name) else _INT
            value = its.read(name)
            if value is None or (name in IPV4 and value == _NO_GROUP):
                continue
            if entry.type == _STR:
                set_text(entry, "sarg", value)
            else:
                entry.iarg = int(value)


def check(entries: Any, names: Sequence[str], image: str) -> None:
    """BadImage unless the entries are of the kinds that these names have; there may be fewer, or more, of them."""
    for entry, name in zip(entries, names, strict=False):
        if entry.type != (_STR if _is_string(name) else _INT):
            raise BadImage(image, 0, f"net/{name} is of another type than this sysctl")


def restore(ctx: Context, entries: Any, names: Sequence[str]) -> None:
    """Set what differs."""
    with Sysctls() as its:
        for entry, name in zip(entries, names, strict=False):
            kind = "sarg" if entry.type == _STR else "iarg"
            if entry.HasField(kind):
                its.put(ctx, name, text(entry.sarg) if kind == "sarg" else str(entry.iarg))


def _is_string(name: str) -> bool:
    return name in IPV4 or name.endswith("/stable_secret")


def restore_conf(ctx: Context, entry: Any, device: str) -> None:
    """Those of one device, of its net_device_entry; the oldest images have numbers of IPv4 only."""
    restore(ctx, entry.conf4, conf("ipv4", device))
    restore(ctx, entry.conf6, conf("ipv6", device))
    if not entry.conf4:
        restore_numbers(ctx, entry.conf, device)


def restore_numbers(ctx: Context, values: Sequence[int], device: str) -> None:
    """The same, of images of old."""
    with Sysctls() as its:
        for name, value in zip(conf("ipv4", device), values, strict=False):
            its.put(ctx, name, str(value))


def restore_mtu6(ctx: Context, entry: Any, device: str) -> None:
    """The IPv6 MTU once more: it became that of the link when this went up."""
    name = f"ipv6/conf/{device}/mtu"
    restore(ctx, entry.conf6[CONF6.index("mtu") :][:1], [name])
