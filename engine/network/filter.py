"""Netfilter of a network namespace: iptables, nftables (both as text, by their own tools), conntrack (netlink)."""

from __future__ import annotations

import os
import sys
from struct import Struct

from engine.errors import BadImage, EngineError, KernelError
from engine.kernel import netlink
from engine.kernel.netlink import Netlink
from engine.kernel.uapi import nfnetlink as nf
from engine.kernel.uapi import rtnetlink as rt
from engine.network import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.images.files import Images

_HEAD = Struct(nf.NFGENMSG)
# image, the tables that the namespace has, tools that have them, by preference
_TABLES = (
    ("IPTABLES", "/proc/thread-self/net/ip_tables_names", "iptables-legacy", "iptables"),
    ("IP6TABLES", "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy", "ip6tables"),
)
_CONNTRACK = (
    ("NETNF_CT", nf.NFNL_SUBSYS_CTNETLINK, nf.IPCTNL_MSG_CT_GET, nf.IPCTNL_MSG_CT_NEW),
    ("NETNF_EXP", nf.NFNL_SUBSYS_CTNETLINK_EXP, nf.IPCTNL_MSG_EXP_GET, nf.IPCTNL_MSG_EXP_NEW),
)
# Tables of an engine's network lock: of ours, and of CRIU's, whose own images have them
_CRIU_SEQ = 24680
OWN_TABLE = "criu-network-lock"
_LOCK_TABLES = (OWN_TABLE, "CRIU-")


def blockers() -> list[str]:
    """What is missing to dump it, one line each."""
    out = []
    for _, names, *tools in _TABLES:
        if _tables(names) and not any(map(_tool, (f"{tool}-save" for tool in tools))):
            out.append(f"it has rules of {tools[1]}, and there is no {tools[0]}-save: install iptables")
    if _has_nft() and not _tool("nft"):
        out.append("it has rules of nftables, and there is no nft: install nftables")
    return out


def dump(images: Images, ident: int) -> None:
    """Write the images; those of text are empty where there are no rules."""
    for image, names, *tools in _TABLES:
        text = b""
        if _tables(names):
            tool = next(tool for tool in tools if _tool(f"{tool}-save"))
            text = run([f"{tool}-save", "-c"])
        _store(images, image, ident, text)
    _store(images, "NFTABLES", ident, _without_lock(run(["nft", "list", "ruleset"])) if _has_nft() else b"")
    with sysctl.Sysctls() as sysctls:
        if sysctls.read("netfilter/nf_conntrack_count") in (None, "0\n"):
            return  # a dump goes through the connections of all namespaces
    for image, subsystem, get, _ in _CONNTRACK:
        with Netlink(rt.NETLINK_NETFILTER) as filters:
            body = _HEAD.pack(0, nf.NFNETLINK_V0, 0)
            messages = filters.dump(subsystem << 8 | get, body, f"a dump of {images.name(image, ident)}")
        if messages:
            _store(images, image, ident, b"".join(_numbered(m) + bytes(-len(m) % 4) for m in messages))


def _numbered(message: bytes) -> bytes:
    """CRIU sends what is in the image, and waits for the answer to a message of its own number (nlmsg_seq)."""
    return message[:8] + _CRIU_SEQ.to_bytes(4, sys.byteorder) + message[12:]


def check(images: Images, ident: int) -> None:
    """BadImage for what is not what it should be."""
    kinds = [subsystem << 8 | new for _, subsystem, _, new in _CONNTRACK]
    for image, *_ in _CONNTRACK:
        for message in _conntracks(images, image, ident):
            if netlink.head(message)[0] not in kinds:
                raise BadImage(images.name(image, ident), 0, "a message that is of no connection")
    text = _load(images, "NFTABLES", ident)
    if "include" in _words(os.fsdecode(text)):
        raise BadImage(images.name("NFTABLES", ident), 0, "it includes another file")


def restore(ctx: Context, images: Images, ident: int) -> None:
    """The rules, and then the connections that they have let pass."""
    for image, _, *tools in _TABLES:
        text = _turned(_without_chain(_load(images, image, ident)))
        if not text:
            continue
        restorers = [f"{tool}-restore" for tool in tools]
        found = next(filter(_tool, restorers), None)
        if found is None:
            raise EngineError(f"{images.name(image, ident)}: there is no {restorers[0]}: install iptables")
        run([found, "-c"], text, images.name(image, ident))
    if text := _without_chain(_without_lock(_load(images, "NFTABLES", ident))):
        if not _tool("nft"):
            raise EngineError(f"{images.name('NFTABLES', ident)}: there is no nft: install nftables")
        run(["nft", "-f", "-"], text, images.name("NFTABLES", ident))
    for image, subsystem, _, new in _CONNTRACK:
        # CRIU writes the connections into both images
        kind = subsystem << 8 | new
        messages = [m for m in _conntracks(images, image, ident) if netlink.head(m)[0] == kind]
        if messages:
            with Netlink(rt.NETLINK_NETFILTER) as filters:
                for message in messages:
                    body = netlink.body(message)
                    filters.request(kind, rt.NLM_F_CREATE, body, f"an entry of {image}")


def _tables(names: str) -> bool:
    try:
        with open(names) as f:
            return bool(f.read().strip())
    except FileNotFoundError:
        return False


def _has_nft() -> bool:
    """Whether there is a table, other than the engine's lock."""
    try:
        with Netlink(rt.NETLINK_NETFILTER) as filters:
            kind = nf.NFNL_SUBSYS_NFTABLES << 8 | nf.NFT_MSG_GETTABLE
            tables = filters.dump(kind, _HEAD.pack(0, nf.NFNETLINK_V0, 0), "a dump of nftables")
    except KernelError:  # a kernel without nftables
        return False
    return any(
        netlink.string(netlink.attributes(netlink.body(t), _HEAD.size)[nf.NFTA_TABLE_NAME]) != OWN_TABLE for t in tables
    )


def _tool(name: str) -> str | None:
    """The path of a tool, or None."""
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


def run(command: list[str], text: bytes = b"", image: str = "") -> bytes:
    """Run a tool in this namespace, with an input; its output."""
    import subprocess

    done = subprocess.run(command, input=text, capture_output=True, check=False)
    if done.returncode:
        said = os.fsdecode(done.stderr).strip() or f"it ended with status {done.returncode}"
        raise EngineError(f"{image + ': ' if image else ''}{' '.join(command)}: {said}")
    return done.stdout


def _turned(text: bytes) -> bytes:
    """The tables of iptables-save the last one first: the kernel tells the newest one first."""
    blocks = [b"*" + block for block in (b"\n" + text).split(b"\n*")[1:]]
    return b"".join(block.rstrip() + b"\n" for block in reversed(blocks))


def _without_lock(text: bytes) -> bytes:
    """A ruleset without the tables of a network lock."""
    out, skipping = [], False
    for line in text.splitlines(keepends=True):
        words = line.split()
        if words[:1] == [b"table"] and len(words) > 2:
            skipping = os.fsdecode(words[2]).startswith(_LOCK_TABLES)
        if not skipping:
            out.append(line)
        if line.startswith(b"}"):
            skipping = False
    return b"".join(out)


def _without_chain(text: bytes) -> bytes:
    """Rules without the chain CRIU that its network lock by iptables adds: its images have it."""
    out, skipping = [], False
    for line in text.splitlines(keepends=True):
        words = line.split()
        if words[:2] == [b"chain", b"CRIU"]:
            skipping = True
        ours = words[:1] == [b":CRIU"] or b"-A CRIU " in line or words[-2:] in ([b"jump", b"CRIU"], [b"-j", b"CRIU"])
        if not skipping and not ours:
            out.append(line)
        if skipping and words == [b"}"]:
            skipping = False
    return b"".join(out)


def _words(text: str) -> list[str]:
    """The words of a ruleset outside of quotes."""
    bare = " ".join(text.split('"')[::2])
    return bare.replace(";", " ").replace("{", " ").replace("}", " ").split()


def _conntracks(images: Images, image: str, ident: int) -> list[bytes]:
    try:
        messages = list(netlink.messages(_load(images, image, ident)))
        for message in messages:
            netlink.attributes(netlink.body(message), _HEAD.size)
    except ValueError as e:
        raise BadImage(images.name(image, ident), 0, str(e)) from e
    return messages


def _load(images: Images, image: str, ident: int) -> bytes:
    if not images.exists(image, ident):
        return b""
    fd = images.open_raw(image, ident)
    with open(fd, "rb") as f:
        return f.read()


def _store(images: Images, image: str, ident: int, data: bytes) -> None:
    with open(images.create_raw(image, ident), "wb") as f:
        f.write(data)
