"""The network lock: no packets for a tree that is frozen, or half restored (--network-lock).

By default a table of nftables that belongs to a netlink socket of the engine (NFT_TABLE_F_OWNER): it goes with the
socket, so an engine that is killed leaves nothing. With iptables a process of its own waits for the engine's end.
Packets with the mark SOCKET_MARK pass, as with CRIU: those by which sockets are repaired.

Also as with CRIU the lock stays when a dump has ended the tree: its network namespace may be there for longer
(ip-netns(8)), and whoever the tree has talked to shall not be told by the kernel that nobody is there. Then the table
is nobody's, and named after the dump; a restore that joins the namespace removes it.
"""

from __future__ import annotations

import os
import struct

from engine.blocks import ExitStack
from engine.errors import EngineError, KernelError
from engine.kernel import netlink
from engine.kernel.namespaces import within
from engine.kernel.netlink import Netlink
from engine.kernel.uapi import nfnetlink as nf
from engine.kernel.uapi import rtnetlink as rt
from engine.network.filter import OWN_TABLE, run
from engine.options import NETWORK_LOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.context import Context

SOCKET_MARK = 0xC114
_HEAD = struct.Struct(nf.NFGENMSG)
_PRIORITY = -400  # before all that netfilter has itself (linux/netfilter_ipv4.h: NF_IP_PRI_RAW_BEFORE_DEFRAG is -450)
_CHAINS = (("input", nf.NF_INET_LOCAL_IN), ("output", nf.NF_INET_LOCAL_OUT))
_TOOLS = ("iptables", "ip6tables")
_KEEP = b"k"
_LOCK = f"""*filter
:CRIU - [0:0]
-I INPUT -j CRIU
-I OUTPUT -j CRIU
-A CRIU -m mark --mark {SOCKET_MARK:#x} -j ACCEPT
-A CRIU -j DROP
COMMIT
"""
_UNLOCK = """*filter
:CRIU - [0:0]
-D INPUT -j CRIU
-D OUTPUT -j CRIU
-X CRIU
COMMIT
"""


class locked:
    """A context in which no packet comes to some network namespaces, or leaves them.

    They are files or descriptors; the first one may be there for longer than the tree. EngineError when it cannot be
    done.
    """

    __slots__ = ("_ctx", "_held", "_locks", "_namespaces")

    def __init__(self, ctx: Context, namespaces: Iterable[str | int]) -> None:
        self._ctx = ctx
        self._namespaces = list(namespaces)
        self._locks: list[_Nftables | _Iptables] = []
        self._held = ExitStack()

    def __enter__(self) -> locked:
        kind = self._ctx.options.network_lock
        if kind == "skip":
            return self
        with ExitStack() as undo:
            for where in self._namespaces:
                fd = where if isinstance(where, int) else os.open(where, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    with within(fd, "net"):
                        lock = _Nftables() if kind == "nftables" else _Iptables()
                finally:
                    if fd != where:
                        os.close(fd)
                undo.callback(lock.close)
                self._locks.append(lock)
            self._held = undo.pop_all()
        return self

    def __exit__(self, *rest: object) -> None:
        try:
            self.unlock()
        finally:
            self._held.close()

    def unlock(self) -> None:
        """Now, in less than a millisecond with nftables; to close the sockets later takes ten."""
        for lock in self._locks:
            lock.unlock()
        self._locks = []

    def leave(self, run: str) -> None:
        """The tree ends: the first lock stays. `run` is what the images call this dump."""
        for lock in self._locks[:1]:
            lock.leave(run)
        self._locks = self._locks[1:]


def remove(inventory: Any) -> None:
    """Remove what the dump with this inventory_entry, ours or CRIU's, has left in the namespace that we are in now."""
    run_id = inventory.dump_criu_run_id
    if run_id and inventory.network_lock_method == NETWORK_LOCKS.index("nftables"):
        with Netlink(rt.NETLINK_NETFILTER) as filters:
            kind = _kind(nf.NFT_MSG_GETTABLE)
            tables = filters.dump(kind, _HEAD.pack(nf.NFPROTO_INET, nf.NFNETLINK_V0, 0), "a dump of nftables")
            its = [netlink.attributes(netlink.body(t), _HEAD.size)[nf.NFTA_TABLE_NAME] for t in tables]
            if _left(run_id) in map(netlink.string, its):
                filters.batch(_batch(_delete(_left(run_id))), "the end of the network lock (nftables)")
    elif inventory.network_lock_method == NETWORK_LOCKS.index("iptables"):
        for tool in _TOOLS:
            if b"\n:CRIU " in run([f"{tool}-save", "-t", "filter"]):
                run([f"{tool}-restore", "-w", "--noflush"], _UNLOCK.encode())


def _left(run_id: str) -> str:
    """The table of a dump that has ended."""
    return f"CRIU-{run_id}"


class _Nftables:
    """A table of its own, in the namespace that the engine is in now."""

    __slots__ = ("_filters",)

    def __init__(self) -> None:
        self._filters = Netlink(rt.NETLINK_NETFILTER)
        try:
            self._change(_table(OWN_TABLE, nf.NFT_TABLE_F_OWNER))
        except KernelError:
            self._filters.close()
            raise

    def unlock(self) -> None:
        self._change([_delete(OWN_TABLE)])

    def leave(self, run_id: str) -> None:
        self._change([*_table(_left(run_id), 0), _delete(OWN_TABLE)])

    def close(self) -> None:
        self._filters.close()

    def _change(self, requests: list[tuple[int, int, bytes]]) -> None:
        what = "the network lock (nftables); --network-lock iptables is the other way"
        self._filters.batch(_batch(*requests), what)


def _batch(*requests: tuple[int, int, bytes]) -> list[tuple[int, int, bytes]]:
    body = _HEAD.pack(0, nf.NFNETLINK_V0, nf.NFNL_SUBSYS_NFTABLES)
    return [(nf.NFNL_MSG_BATCH_BEGIN, 0, body), *requests, (nf.NFNL_MSG_BATCH_END, 0, body)]


def _delete(name: str) -> tuple[int, int, bytes]:
    head = _HEAD.pack(nf.NFPROTO_INET, nf.NFNETLINK_V0, 0)
    return _kind(nf.NFT_MSG_DELTABLE), rt.NLM_F_ACK, head + netlink.attribute(nf.NFTA_TABLE_NAME, name)


def _table(table: str, flags: int) -> list[tuple[int, int, bytes]]:
    """A table of two chains that drop all but what has the mark."""
    head = _HEAD.pack(nf.NFPROTO_INET, nf.NFNETLINK_V0, 0)
    create = rt.NLM_F_CREATE | rt.NLM_F_ACK
    body = netlink.attribute(nf.NFTA_TABLE_NAME, table) + netlink.attribute(nf.NFTA_TABLE_FLAGS, _be32(flags))
    out = [(_kind(nf.NFT_MSG_NEWTABLE), create, head + body)]
    for name, hook in _CHAINS:
        where = netlink.nest(
            nf.NFTA_CHAIN_HOOK,
            netlink.attribute(nf.NFTA_HOOK_HOOKNUM, _be32(hook)),
            netlink.attribute(nf.NFTA_HOOK_PRIORITY, struct.pack("!i", _PRIORITY)),
        )
        chain = netlink.attribute(nf.NFTA_CHAIN_TABLE, table) + netlink.attribute(nf.NFTA_CHAIN_NAME, name)
        chain += where + netlink.attribute(nf.NFTA_CHAIN_TYPE, "filter")
        chain += netlink.attribute(nf.NFTA_CHAIN_POLICY, _be32(nf.NF_DROP))
        out.append((_kind(nf.NFT_MSG_NEWCHAIN), create, head + chain))
        rule = netlink.attribute(nf.NFTA_RULE_TABLE, table) + netlink.attribute(nf.NFTA_RULE_CHAIN, name)
        rule += netlink.nest(nf.NFTA_RULE_EXPRESSIONS, *_accept_marked())
        out.append((_kind(nf.NFT_MSG_NEWRULE), create | rt.NLM_F_APPEND, head + rule))
    return out


def _accept_marked() -> list[bytes]:
    """meta mark SOCKET_MARK accept"""
    mark = netlink.nest(nf.NFTA_CMP_DATA, netlink.attribute(nf.NFTA_DATA_VALUE, SOCKET_MARK))
    verdict = netlink.nest(nf.NFTA_DATA_VERDICT, netlink.attribute(nf.NFTA_VERDICT_CODE, _be32(nf.NF_ACCEPT)))
    return [
        _expression(
            "meta",
            netlink.attribute(nf.NFTA_META_DREG, _be32(nf.NFT_REG_1)),
            netlink.attribute(nf.NFTA_META_KEY, _be32(nf.NFT_META_MARK)),
        ),
        _expression(
            "cmp",
            netlink.attribute(nf.NFTA_CMP_SREG, _be32(nf.NFT_REG_1)),
            netlink.attribute(nf.NFTA_CMP_OP, _be32(nf.NFT_CMP_EQ)),
            mark,
        ),
        _expression(
            "immediate",
            netlink.attribute(nf.NFTA_IMMEDIATE_DREG, _be32(nf.NFT_REG_VERDICT)),
            netlink.nest(nf.NFTA_IMMEDIATE_DATA, verdict),
        ),
    ]


def _expression(name: str, *data: bytes) -> bytes:
    return netlink.nest(
        nf.NFTA_LIST_ELEM, netlink.attribute(nf.NFTA_EXPR_NAME, name), netlink.nest(nf.NFTA_EXPR_DATA, *data)
    )


def _kind(message: int) -> int:
    return nf.NFNL_SUBSYS_NFTABLES << 8 | message


def _be32(value: int) -> bytes:
    return struct.pack("!I", value)


class _Iptables:
    """Rules, and a process in this namespace that removes them when it is told to, or the engine is gone."""

    __slots__ = ("_pid", "_tell")

    def __init__(self) -> None:
        wait, self._tell = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            _remove_after(wait, self._tell)
        os.close(wait)
        try:
            for tool in _TOOLS:
                run([f"{tool}-restore", "-w", "--noflush"], _LOCK.encode())
        except (EngineError, OSError) as e:
            self.unlock()
            raise EngineError(f"the network lock (iptables): {e}; --network-lock nftables needs no tool") from e

    def unlock(self) -> None:
        os.close(self._tell)
        os.waitpid(self._pid, 0)
        self._pid = 0

    def leave(self, run_id: str) -> None:
        os.write(self._tell, _KEEP)
        self.unlock()

    def close(self) -> None:
        if self._pid:
            self.unlock()


def _remove_after(wait: int, tell: int) -> None:
    """What the other process does. It has nothing of the engine's but the namespace."""
    import signal

    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(tell)
        if os.read(wait, 1) == _KEEP:
            return
        for tool in _TOOLS:
            try:
                run([f"{tool}-restore", "-w", "--noflush"], _UNLOCK.encode())
            except (EngineError, OSError):
                continue  # the rules are not there: their making has failed, which the engine tells
    finally:
        os._exit(0)
