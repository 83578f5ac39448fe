"""tun and tap devices (Documentation/networking/tuntap.rst): the devices; files of them are engine/files/tun.py."""

from __future__ import annotations

import errno
import os
import struct
from fcntl import ioctl

from engine.errors import EngineError, Unsupported
from engine.kernel import ethtool, netlink
from engine.kernel.uapi import if_tun
from engine.kernel.uapi import rtnetlink as rt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.network.links import Link

_DEVICE = "/dev/net/tun"
_NO_PI, _VNET_HDR = 0x1000, 0x4000
_FOREIGN = 0xFFFFFFFF  # no owner
# A device that nobody has asked for anything: INT_MAX, the size of struct virtio_net_hdr
_SNDBUF, _VNETHDR = 0x7FFFFFFF, 10
_NAPI = 0x10 | 0x20  # IFF_NAPI, IFF_NAPI_FRAGS
_FLAGS = if_tun.IFF_TUN | if_tun.IFF_TAP | if_tun.IFF_MULTI_QUEUE | _NO_PI | _VNET_HDR | 0x2000 | _NAPI
# TUN_F_* and the features that they stand for, as ethtool(8) calls them
_OFFLOADS = {
    0x01: "tx-checksum-ip-generic",
    0x02: "tx-tcp-segmentation",
    0x04: "tx-tcp6-segmentation",
    0x08: "tx-tcp-ecn-segmentation",
    0x60: "tx-udp-segmentation",
}


def request(name: str, flags: int = 0) -> bytearray:
    """A struct ifreq."""
    return bytearray(struct.pack("=16sH22x", os.fsencode(name), flags))


def settable(flags: int) -> int:
    """Of the flags of a tun_link_entry, those that a file is attached with."""
    return flags & _FLAGS


def flags_of(fd: int) -> tuple[str, int]:
    """The name and the flags of the device that a file is attached to, with that of its queue; "" for none."""
    buffer = request("")
    try:
        ioctl(fd, if_tun.TUNGETIFF, buffer)
    except OSError as e:
        if e.errno != errno.EBADFD:
            raise
        return "", 0
    name, flags = struct.unpack_from("=16sH", buffer)
    return os.fsdecode(name.partition(b"\0")[0]), flags


def sizes(fd: int) -> tuple[int, int]:
    """Of an attached file: the send buffer and the size of the virtio header, both in bytes."""
    out = []
    for what in (if_tun.TUNGETSNDBUF, if_tun.TUNGETVNETHDRSZ):
        buffer = bytearray(4)
        ioctl(fd, what, buffer)
        out.append(struct.unpack("=i", buffer)[0])
    return out[0], out[1]


def dump(entry: Any, link: Link, held: tuple[int, int, int] | None) -> None:
    """The tun_link_entry of a device. `held`: flags and sizes, by a file of the tree that is attached to it.

    Unsupported for one that goes with its last file, of which the tree has none.
    """
    _fill(entry, link)
    if held:
        entry.flags |= held[0] & _NAPI
        entry.sndbuf, entry.vnethdr = held[1:]
    elif entry.flags & if_tun.IFF_PERSIST:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            # without a carrier: nobody is to see that somebody was there
            ioctl(fd, if_tun.TUNSETIFF, request(link.name, settable(entry.flags) | if_tun.IFF_NO_CARRIER))
            entry.flags |= flags_of(fd)[1] & _NAPI
            entry.sndbuf, entry.vnethdr = sizes(fd)
        except OSError as e:
            raise EngineError(f"link {link.name}: somebody outside of the tree holds this device: {e.strerror}") from e
        finally:
            os.close(fd)
    else:
        what = f"link {link.name}: whoever holds this tun device is outside of the tree"
        raise Unsupported([f"{what}: make it persistent (TUNSETPERSIST), or remove it"])
    if offload := _offload(link.name):
        entry.offload = offload


def present(name: str, entry: Any) -> Any:
    """Fill the tun_link_entry of a device that is there, in this namespace; EngineError for one that is not."""
    from engine.network import links

    with netlink.Netlink() as route:
        for link in links.collect(route):
            if link.name == name and link.kind == "tun":
                _fill(entry, link)
                return entry
    raise EngineError(f"there is no tun device {name}, to which a file was attached: make it before the restore")


def _fill(entry: Any, link: Link) -> None:
    data = link.data
    flags = netlink.number(data.get(rt.IFLA_TUN_TYPE))
    flags |= 0 if netlink.number(data.get(rt.IFLA_TUN_PI)) else _NO_PI
    for kind, flag in (
        (rt.IFLA_TUN_VNET_HDR, _VNET_HDR),
        (rt.IFLA_TUN_PERSIST, if_tun.IFF_PERSIST),
        (rt.IFLA_TUN_MULTI_QUEUE, if_tun.IFF_MULTI_QUEUE),
    ):
        flags |= flag if netlink.number(data.get(kind)) else 0
    entry.flags = flags
    for field, kind in (("owner", rt.IFLA_TUN_OWNER), ("group", rt.IFLA_TUN_GROUP)):
        number = netlink.number(data.get(kind), _FOREIGN)
        setattr(entry, field, number - (1 << 32) if number >= 1 << 31 else number)
    entry.sndbuf, entry.vnethdr = _SNDBUF, _VNETHDR


def _offload(name: str) -> int:
    """TUN_F_* of a device: what who reads from it has said to be able to do (TUNSETOFFLOAD)."""
    features = ethtool.requested(name)
    return sum(flag for flag, feature in _OFFLOADS.items() if feature in features)


def create(entry: Any, name: str) -> None:
    """Make the device, persistent for now: the files that are attached come later, and say what it is to be."""
    tun = entry.tun
    fd = -1
    try:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        ioctl(fd, if_tun.TUNSETIFINDEX, struct.pack("=i", entry.ifindex))
        ioctl(fd, if_tun.TUNSETIFF, request(name, tun.flags & _FLAGS))
        ioctl(fd, if_tun.TUNSETPERSIST, 1)
        for what, value in ((if_tun.TUNSETOWNER, tun.owner), (if_tun.TUNSETGROUP, tun.group)):
            if value != -1:
                ioctl(fd, what, value)
        if tun.vnethdr != _VNETHDR:
            ioctl(fd, if_tun.TUNSETVNETHDRSZ, struct.pack("=i", tun.vnethdr))
        if tun.offload:
            ioctl(fd, if_tun.TUNSETOFFLOAD, tun.offload)
    except OSError as e:
        raise EngineError(f"link {name}: a tun device with flags {tun.flags:#x}: {e.strerror}") from e
    finally:
        if fd >= 0:
            os.close(fd)
