"""Probes of the network: sockets, devices, filters. Devices and rules live in a network namespace of the probe's."""

from __future__ import annotations

import os
import socket
from fcntl import ioctl
from struct import pack, unpack_from

from engine.kernel.probes import netlink, raw
from engine.kernel.probes.netlink import ACK, CREATE, DUMP, EXCL, attribute, message, nested

TUNSETIFF, TUNGETIFF, TUNSETIFINDEX, TUNGETDEVNETNS = 0x400454CA, 0x800454D2, 0x400454DA, 0x54E3
IFF_TUN, IFF_NO_PI, IFF_UP = 0x0001, 0x1000, 0x0001
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGSKNS = 0x8913, 0x8914, 0x894C
SO_BUF_LOCK, SEND_LOCK, RECEIVE_LOCK = 72, 1, 2
TCP_REPAIR, TCP_REPAIR_QUEUE, SEND_QUEUE = 19, 20, 2
IPV6_FREEBIND = 78
IPT_SO_GET_INFO, IPT_GETINFO = 64, 84
NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 4, 12
SOCK_DIAG_BY_FAMILY, IPPROTO_RAW = 20, 255
INET_DIAG_INODE = 68  # offsetof(struct inet_diag_msg, idiag_inode)

RTM_NEWLINK, RTM_GETLINK, RTM_NEWNSID, RTM_GETNSID = 16, 18, 88, 90
IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD, IFLA_IF_NETNSID, IFLA_NEW_IFINDEX = 3, 18, 28, 46, 49
IFLA_INFO_KIND = 1
NETNSA_NSID, NETNSA_FD = 1, 3
NSID, IFINDEX = 5, 4242  # ids of our choice

NFT = 10 << 8
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWSET, NFT_MSG_GETTABLE = NFT, NFT | 3, NFT | 9, NFT | 1
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NFPROTO_INET = 1
LOCAL_IN, DROP, NFT_SET_CONCAT = 1, 0, 0x80


def tun() -> bool:
    """Documentation/networking/tuntap.rst: a device with an index of our choice."""
    raw.unshare(raw.CLONE_NEWNET)
    return socket.if_indextoname(IFINDEX) == "zdtm0" if _tun() >= 0 else False


def _tun() -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    ioctl(fd, TUNSETIFINDEX, pack("i", IFINDEX))
    ioctl(fd, TUNSETIFF, pack("16sH22x", b"zdtm0", IFF_TUN | IFF_NO_PI))
    name, flags = unpack_from("16sH", ioctl(fd, TUNGETIFF, bytes(40)))
    return fd if name.rstrip(b"\0") == b"zdtm0" and flags & IFF_TUN else -1


def tun_ns() -> bool:
    """linux/if_tun.h: TUNGETDEVNETNS."""
    raw.unshare(raw.CLONE_NEWNET)
    fd = ioctl(_tun(), TUNGETDEVNETNS)
    return os.fstat(fd).st_ino == os.stat("/proc/self/ns/net").st_ino


def sk_ns() -> bool:
    """linux/sockios.h: SIOCGSKNS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        raw.unshare(raw.CLONE_NEWNET)
        fd = ioctl(s, SIOCGSKNS)
        return os.fstat(fd).st_ino != os.stat("/proc/self/ns/net").st_ino


def net_diag_raw() -> bool:
    """sock_diag(7): raw sockets are told."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        inode = os.fstat(s.fileno()).st_ino
        body = pack("BBBBI48x", socket.AF_INET, IPPROTO_RAW, 0, socket.IPPROTO_ICMP, 0xFFFFFFFF)
        answers = netlink.ask(NETLINK_SOCK_DIAG, message(SOCK_DIAG_BY_FAMILY, DUMP, body))
    return any(unpack_from("I", body, INET_DIAG_INODE)[0] == inode for _, body in answers)


def tcp_half_closed() -> bool:
    """tcp(7): TCP_REPAIR of a connection that one side has shut down."""
    raw.unshare(raw.CLONE_NEWNET)
    with socket.create_server(("127.0.0.1", 0)) as server:
        flags = unpack_from("H", ioctl(server, SIOCGIFFLAGS, pack("16s24x", b"lo")), 16)[0]
        ioctl(server, SIOCSIFFLAGS, pack("16sH22x", b"lo", flags | IFF_UP))
        with socket.create_connection(server.getsockname(), 2) as client, server.accept()[0] as peer:
            client.shutdown(socket.SHUT_WR)
            peer.recv(1)  # the end
            for s in (client, peer):
                s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
                s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    return True


def sockopt_buf_lock() -> bool:
    """socket(7): SO_BUF_LOCK."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, SEND_LOCK | RECEIVE_LOCK)
        return s.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == SEND_LOCK | RECEIVE_LOCK


def ipv6_freebind() -> bool:
    """linux/in6.h: IPV6_FREEBIND, and a bind to an address that nobody has."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        s.bind(("2001:db8::1", 0))
        return s.getsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND) == 1


def _name_outer() -> None:
    """Two namespaces of ours; in the inner one, where we are, the outer one has the id NSID."""
    raw.unshare(raw.CLONE_NEWNET)
    outer = os.open("/proc/self/ns/net", os.O_RDONLY)
    raw.unshare(raw.CLONE_NEWNET)
    body = bytes(4) + attribute(NETNSA_NSID, pack("i", NSID)) + attribute(NETNSA_FD, pack("i", outer))
    netlink.ask(socket.NETLINK_ROUTE, message(RTM_NEWNSID, ACK, body))
    body = bytes(4) + attribute(NETNSA_FD, pack("i", outer))
    for kind, answer in netlink.ask(socket.NETLINK_ROUTE, message(RTM_GETNSID, ACK, body)):
        if kind == RTM_NEWNSID and netlink.attributes(answer[4:]).get(NETNSA_NSID) == pack("i", NSID):
            return
    raise OSError("the id is not told")


def nsid() -> bool:
    """linux/net_namespace.h: a network namespace gets an id of our choice."""
    _name_outer()
    return True


def link_nsid() -> bool:
    """linux/if_link.h: IFLA_IF_NETNSID asks for a device of another network namespace."""
    _name_outer()
    body = pack("BxHiII", 0, 0, 1, 0, 0) + attribute(IFLA_IF_NETNSID, pack("i", NSID))
    answers = netlink.ask(socket.NETLINK_ROUTE, message(RTM_GETLINK, ACK, body))
    return any(netlink.attributes(answer[16:]).get(IFLA_IF_NETNSID) == pack("i", NSID) for _, answer in answers)


def newifindex() -> bool:
    """linux/if_link.h: IFLA_NEW_IFINDEX, a device gets an index of our choice as it moves."""
    raw.unshare(raw.CLONE_NEWNET)
    target = os.open("/proc/self/ns/net", os.O_RDONLY)
    raw.unshare(raw.CLONE_NEWNET)
    if not _new_link("veth"):
        _new_link("dummy")
    index = socket.if_nametoindex("zdtm0")
    body = pack("BxHiII", 0, 0, index, 0, 0)
    body += attribute(IFLA_NET_NS_FD, pack("i", target)) + attribute(IFLA_NEW_IFINDEX, pack("i", IFINDEX))
    netlink.ask(socket.NETLINK_ROUTE, message(RTM_NEWLINK, ACK, body))
    raw.setns(target, raw.CLONE_NEWNET)
    return socket.if_indextoname(IFINDEX) == "zdtm0"


def _new_link(kind: str) -> bool:
    body = pack("BxHiII", 0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, b"zdtm0\0")
    body += nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind.encode()))
    try:
        netlink.ask(socket.NETLINK_ROUTE, message(RTM_NEWLINK, ACK | CREATE | EXCL, body))
    except OSError:
        return False
    return True


def _nft(*rows: tuple[int, bytes]) -> None:
    """One transaction of nf_tables, in a network namespace of our own."""
    raw.unshare(raw.CLONE_NEWNET)
    family = pack(">BBH", NFPROTO_INET, 0, 0)
    batch = message(BATCH_BEGIN, 0, pack(">BBH", 0, 0, NFT >> 8), 1)
    for i, (kind, body) in enumerate(rows):
        batch += message(kind, ACK | CREATE, family + body, 2 + i)
    batch += message(BATCH_END, 0, pack(">BBH", 0, 0, NFT >> 8), 2 + len(rows))
    netlink.ask(NETLINK_NETFILTER, batch, 1 + len(rows))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, pack(">I", value))


TABLE = (NFT_MSG_NEWTABLE, attribute(1, b"zdtm\0"))  # NFTA_TABLE_NAME


def nftables() -> bool:
    """nft(8): a table can be made, and is told."""
    _nft(TABLE)
    request = message(NFT_MSG_GETTABLE, DUMP, pack(">BBH", NFPROTO_INET, 0, 0))
    answers = netlink.ask(NETLINK_NETFILTER, request)
    return any(netlink.attributes(answer[4:]).get(1) == b"zdtm\0" for _, answer in answers)


def network_lock_nftables() -> bool:
    """nft(8): a chain that drops what comes in, and a set of connections (addresses and ports, concatenated)."""
    hook = nested(4, _number(1, LOCAL_IN), _number(2, 0))  # NFTA_CHAIN_HOOK: number, priority
    chain = attribute(1, b"zdtm\0") + attribute(3, b"in\0") + hook + _number(5, DROP) + attribute(7, b"filter\0")
    # NFTA_SET_DESC: NFTA_SET_DESC_CONCAT: four NFTA_LIST_ELEM of NFTA_SET_FIELD_LEN
    concat = nested(9, nested(2, *(nested(1, _number(1, 4)) for _ in range(4))))
    numbers = _number(3, NFT_SET_CONCAT) + _number(4, 0) + _number(5, 16) + _number(10, 1)
    _nft(
        TABLE,
        (NFT_MSG_NEWCHAIN, chain),
        (NFT_MSG_NEWSET, attribute(1, b"zdtm\0") + attribute(2, b"connections\0") + numbers + concat),
    )
    return True


def has_ipt_legacy() -> bool:
    """iptables(8): the kernel has the filter table of old, and there is a tool for it."""
    raw.unshare(raw.CLONE_NEWNET)
    info, size = raw.buffer(pack("32s52x", b"filter")), raw.buffer(pack("I", IPT_GETINFO))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_RAW) as s:
        raw.c("getsockopt", s.fileno(), 0, IPT_SO_GET_INFO, info, size)
    if _tool("iptables-legacy"):
        return True
    path = _tool("iptables")
    if not path:
        return False
    import subprocess

    told = subprocess.run([path, "-V"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return told.returncode == 0 and b"nf_tables" not in told.stdout


def _tool(name: str) -> str:
    for folder in (*os.get_exec_path(), "/usr/sbin", "/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return ""
