"""sit devices (IPv6 in IPv4, linux/if_tunnel.h): their sit_entry."""

from __future__ import annotations

from engine.kernel import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# field, IFLA_IPTUN_*, bytes
_NUMBERS = (
    ("link", 1, 4),
    ("ttl", 4, 1),
    ("tos", 5, 1),
    ("flags", 8, 2),
    ("proto", 9, 1),
    ("encap_type", 15, 2),
    ("encap_flags", 16, 2),
    ("encap_sport", 17, 2),
    ("encap_dport", 18, 2),
    ("rd_prefixlen", 13, 2),
    ("relay_prefixlen", 14, 2),
)
# field, IFLA_IPTUN_*: addresses as words in network order, kept as they are in memory
_ADDRESSES = (("local", 2), ("remote", 3), ("rd_prefix", 11), ("relay_prefix", 12))
_PMTUDISC = 10


def dump(entry: Any, data: dict[int, bytes]) -> None:
    """From IFLA_INFO_DATA; what is 0 is left out."""
    for field, kind, _ in _NUMBERS:
        if value := netlink.number(data.get(kind)):
            setattr(entry, field, value)
    for field, kind in _ADDRESSES:
        value_ = data.get(kind, b"")
        if any(value_):
            getattr(entry, field).extend(netlink.number(value_[i : i + 4]) for i in range(0, len(value_), 4))
    entry.pmtudisc = bool(netlink.number(data.get(_PMTUDISC)))


def data(entry: Any) -> bytes:
    """IFLA_INFO_DATA to make it with."""
    out = b""
    for field, kind, size in _NUMBERS:
        if entry.HasField(field):
            out += netlink.attribute(kind, netlink.packed(getattr(entry, field), size))
    for field, kind in _ADDRESSES:
        if words := getattr(entry, field):
            out += netlink.attribute(kind, b"".join(netlink.packed(word, 4) for word in words))
    return out + netlink.attribute(_PMTUDISC, netlink.packed(int(entry.pmtudisc), 1))
