"""Network namespaces: what the module dumps comes back in a fresh one, as ip(8) and procfs show it."""

import difflib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.context import Context
from engine.externals import parse as externals
from engine.images.files import Images
from engine.kernel import pagemap
from engine.kernel.namespaces import FLAGS, entered, unshare
from engine.log import Log
from engine.namespaces.table import Namespace
from engine.network import lock, namespace
from engine.options import Options
from zdtm.waiting import poll

LISTINGS = (
    "ip -d link",
    "ip -d addr",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "ip -6 rule",
    "ip neigh show nud permanent",
    "ip neigh show proxy",
    "bridge -d link",
    "nft list ruleset",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
)
VOLATILE = re.compile(
    r"(?:valid_lft|preferred_lft|expires) \d+\s?sec|\w*_timer +\S+|^#.*|\[\d+:\d+\]|"
    r"(?:state|designated_port) \S+|dadfailed ?|tentative ?|numdisabled \d+ ?"
    r"|<[^>]*>|ref_?cnt \d+",
    re.MULTILINE,
)
REST = (
    *("net/unix/max_dgram_qlen", "net/ipv4/ping_group_range", "net/ipv4/ip_local_port_range"),
    *("net/ipv4/tcp_syn_retries", "net/core/somaxconn"),
)


class Space:
    """A network namespace with a process in it that waits for its end."""

    def __init__(self) -> None:
        ready, told = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            unshare(FLAGS["net"])
            os.write(told, b"x")
            signal.pause()
        os.read(ready, 1)
        for fd in (ready, told):
            os.close(fd)

    def run(self, script: str) -> str:
        """Run a shell in it."""
        with entered(self.pid, "net"):
            done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self) -> str:
        """All that is compared."""
        parts = []
        for listing in LISTINGS:
            text = VOLATILE.sub("", self.run(listing))
            if "route" in listing:  # equal ones are in the order of their making
                text = "\n".join(sorted(text.splitlines()))
            if "save" in listing:
                text = "*".join(sorted(block.strip() + "\n" for block in text.split("*")))
            parts.append(f"== {listing}\n{text}")
        with entered(self.pid, "net"):
            for top, _, names in sorted(os.walk("/proc/sys/net")):
                if "/conf/" in top or "/neigh/" in top:
                    parts += [_read(f"{top}/{name}") for name in sorted(names)]
            parts += [_read(f"/proc/sys/{name}") for name in REST]
        return "\n".join(parts)

    def end(self) -> None:
        """Let it go."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _read(path: str) -> str:
    try:
        return f"{path}: {Path(path).read_text().strip()}"
    except OSError as e:
        return f"{path}: {e.strerror}"


@pytest.fixture
def spaces() -> Iterator[list[Space]]:
    """Those of a test; ended after it."""
    its: list[Space] = []
    yield its
    for one in its:
        one.end()


def context(*external: str) -> Context:
    """A context with --external options."""
    options = Options()
    options.externals = externals(list(external))
    return Context(options, Log())


def images(ctx: Context, path: Path) -> Images:
    """Images in a directory."""
    return Images.open(ctx.schema, str(path), pagemap)


def settled(space: Space) -> str:
    """A look at what does not change by itself any more: addresses and carriers come when they are ready."""
    poll(lambda: " tentative" not in space.run("ip -6 addr").replace("dadfailed tentative", "") or None, 4)
    before, since = space.look(), time.monotonic()
    while time.monotonic() < since + (1.5 if "link/ether" in before else 0):
        after = space.look()
        if after != before:
            before, since = after, time.monotonic()
        time.sleep(0.1)
    return before


def same(before: str, space: Space) -> None:
    """Look again, for a while: carriers come a moment later."""
    for _ in range(100):
        after = space.look()
        if after == before:
            return
        time.sleep(0.1)
    pytest.fail("\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)))


def through(spaces: list[Space], path: Path, script: str) -> tuple[Space, Space]:
    """A namespace that a script has filled, and another one with what was dumped of it."""
    ctx = context()
    one = Space()
    spaces.append(one)
    one.run(script)
    before = settled(one)
    space = Namespace("net", 9, os.stat(f"/proc/{one.pid}/ns/net").st_ino, one.pid)
    assert namespace.blockers(ctx, space) == []
    namespace.dump(ctx, images(ctx, path), space)
    same(before, one)  # a dump changes nothing
    other = Space()
    spaces.append(other)
    restore(ctx, images(ctx, path), other)
    same(before, other)
    return one, other


def restore(ctx: Context, its: Images, space: Space) -> None:
    """Fill a fresh namespace."""
    fill(ctx, its, {9: space})


def fill(ctx: Context, its: Images, spaces: dict[int, Space]) -> None:
    """Fill several, by their numbers."""
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    held = {ident: os.open(f"/proc/{space.pid}/ns/net", os.O_RDONLY) for ident, space in spaces.items()}
    try:
        with entered(os.getpid(), "net"):
            namespace.fill(ctx, its, held, (), outside)
    finally:
        for fd in (outside, *held.values()):
            os.close(fd)


def test_loopback(spaces: list[Space], tmp_path: Path) -> None:
    """The namespace that nearly every tree has: lo, up."""
    through(spaces, tmp_path, "ip link set lo up")


def test_loopback_down(spaces: list[Space], tmp_path: Path) -> None:
    """A fresh namespace stays one."""
    through(spaces, tmp_path, "true")


def test_links(spaces: list[Space], tmp_path: Path) -> None:
    """Bridge, veth, macvlan, tap: indexes, addresses, ports and what they do."""
    through(
        spaces,
        tmp_path,
        """
        ip link add index 40 br0 type bridge ageing_time 4200 stp_state 0
        ip link add index 20 v0 type veth peer name v1 index 31
        ip link set v0 up address 02:11:22:33:44:55 mtu 1400 alias 'one end' group 7 txqueuelen 77
        ip link set v1 master br0
        ip link set v1 up
        bridge link set dev v1 hairpin on learning off
        ip link set br0 up
        ip link add link v0 name mac0 index 77 type macvlan mode bridge
        ip link set mac0 up multicast off
        ip link add link v0 name mac1 index 79 type macvlan mode private
        ip tuntap add dev tap7 mode tap user 5 group 6
        ip tuntap add dev tun8 mode tun multi_queue
        ip link set tap7 up
        ip link set lo up
        """,
    )


def test_several(spaces: list[Space], tmp_path: Path) -> None:
    """Links from one namespace into another: by the same indexes, and the same numbers of namespaces."""
    ctx = context()
    old = [Space() for _ in range(3)]
    spaces += old
    a, b, c = (space.pid for space in old)
    old[0].run(f"ip link add west index 11 type veth peer name east netns {b}; ip link set west up mtu 1400")
    old[0].run(f"ip link add far index 12 numtxqueues 2 type veth peer name far numtxqueues 3 netns {c}")
    old[2].run(f"ip link add south type veth peer name north netns {b}; ip link add mine type veth peer name yours")
    old[1].run("ip link add br0 type bridge; ip link set east up master br0; ip link set north up master br0")
    old[1].run(f"ip link set br0 up; ip link add over index 77 link br0 type macvlan; ip link set over netns {a}")
    before = [settled(space) for space in old]
    its = [Namespace("net", 20 + i, os.stat(f"/proc/{s.pid}/ns/net").st_ino, s.pid) for i, s in enumerate(old)]
    for ns in its:
        assert namespace.blockers(ctx, ns) == []
        namespace.dump(ctx, images(ctx, tmp_path), ns, its)
    new = [Space() for _ in range(3)]
    spaces += new
    fill(ctx, images(ctx, tmp_path), {20 + i: space for i, space in enumerate(new)})
    for was, space in zip(before, new, strict=True):
        same(was, space)
    for end, other, its_name, far in ((0, 1, "west", "east"), (2, 1, "south", "north"), (0, 2, "far", "far")):
        new[end].run(f"ip link set {its_name} down")
        assert "NO-CARRIER" in new[other].run(f"ip link set {far} up; ip link show {far}")


def test_addresses(spaces: list[Space], tmp_path: Path) -> None:
    """Labels, peers, scopes, lifetimes, what was removed; routes of all kinds, rules, neighbours."""
    through(
        spaces,
        tmp_path,
        """
        ip link set lo up
        ip addr del 127.0.0.1/8 dev lo
        ip addr add 10.9.9.1/32 dev lo scope host
        ip link add v0 type veth peer name v1
        ip link set v1 up
        ip link set v0 addrgenmode none
        ip link set v0 up
        ip addr add 10.1.0.1/24 brd + dev v0 label v0:x
        ip addr add 10.1.0.2/24 dev v0
        ip addr add 10.2.0.2 peer 10.2.0.9/32 dev v0
        ip addr add 10.3.0.2/24 dev v0 noprefixroute valid_lft 5000 preferred_lft 4000
        ip -6 addr add fd00::1/64 dev v0 nodad
        ip -6 addr add fd00:1::1/64 dev v0 noprefixroute nodad
        ip route add 10.77.0.0/16 via 10.1.0.3 metric 10 mtu 1300
        ip route add 10.78.0.0/16 nexthop via 10.1.0.3 weight 2 nexthop via 10.1.0.4
        ip route add 10.88.0.0/16 dev v0 table 100
        ip route add blackhole 10.99.0.0/16
        ip route add local 10.100.0.0/16 dev lo
        ip -6 route add fd77::/64 via fd00::2 metric 10
        ip -6 route add fd78::/64 nexthop via fd00::3 nexthop via fd00::4
        ip -6 route del fe80::/64 dev v1
        ip rule add from 10.1.0.0/24 table 100 pref 77
        ip rule add fwmark 7 table 100
        ip -6 rule add from fd00::/64 table 100
        ip neigh add 10.1.0.3 lladdr 02:00:00:00:00:01 dev v0 nud permanent
        ip neigh add proxy 10.1.0.7 dev v0
        ip -6 neigh add fd00::9 lladdr 02:00:00:00:00:02 dev v0 nud permanent
        while ip addr | grep -q tentative; do sleep 0.1; done
        """,
    )


def test_sysctls(spaces: list[Space], tmp_path: Path) -> None:
    """Of all, of the default, of each device, and others of the namespace."""
    through(
        spaces,
        tmp_path,
        """
        ip link add v0 type veth peer name v1
        cd /proc/sys/net
        for d in all default lo v0; do
            echo 1 > ipv4/conf/$d/forwarding
            echo 1 > ipv4/conf/$d/arp_filter
            echo 2 > ipv4/conf/$d/rp_filter
            echo 1 > ipv6/conf/$d/forwarding
            echo 17 > ipv6/conf/$d/hop_limit
        done
        echo 0 > ipv4/conf/v1/forwarding
        echo 2001:db8::77 > ipv6/conf/default/stable_secret
        echo 2001:db8::78 > ipv6/conf/v0/stable_secret
        echo 1300 > ipv6/conf/v0/mtu
        echo 1 > ipv6/conf/v1/disable_ipv6
        echo '5 10' > ipv4/ping_group_range
        echo 37 > unix/max_dgram_qlen
        echo 3 > ipv4/tcp_syn_retries
        echo '10000 20000' > ipv4/ip_local_port_range
        echo 55 > core/somaxconn
        ip link set v0 up
        """,
    )


def test_filters(spaces: list[Space], tmp_path: Path) -> None:
    """Rules of both iptables and of nftables."""
    through(
        spaces,
        tmp_path,
        """
        ip link set lo up
        iptables-legacy -A INPUT -p tcp --dport 98 -j DROP
        iptables-legacy -t nat -A OUTPUT -p tcp --dport 97 -j REDIRECT --to-ports 96
        ip6tables-legacy -A INPUT -p tcp --dport 95 -j REJECT
        nft add table inet t
        nft add chain inet t c '{ type filter hook input priority 0; policy accept; }'
        nft add set inet t s '{ type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }'
        nft add rule inet t c ip saddr @s tcp dport 99 counter reject comment '"include this"'
        iptables-nft -A INPUT -p tcp --dport 94 -j DROP
        """,
    )


def test_connections(spaces: list[Space], tmp_path: Path) -> None:
    """Connections that conntrack knows."""
    script = """
        ip link set lo up
        nft add table ip t
        nft add chain ip t c '{ type filter hook input priority 0; }'
        nft add rule ip t c ct state established accept
        """
    one = Space()
    spaces.append(one)
    one.run(script)
    with entered(one.pid, "net"), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            ctx = context()
            before = _connections(one)
            assert "ESTABLISHED" in before
            namespace.dump(ctx, images(ctx, tmp_path), Namespace("net", 9, 1, one.pid))
            other = Space()
            spaces.append(other)
            restore(ctx, images(ctx, tmp_path), other)
            assert _connections(other) == before


def test_expectations(spaces: list[Space], tmp_path: Path) -> None:
    """What a helper expects to come: the transfer that an FTP server has announced."""
    one, other = Space(), Space()
    spaces += [one, other]
    one.run(
        """
        ip link set lo up
        nft add table ip t
        nft add ct helper ip t ftp '{ type "ftp" protocol tcp; }'
        nft add chain ip t c '{ type filter hook output priority 0; }'
        nft add rule ip t c tcp dport 21 ct helper set '"ftp"'
        """
    )
    ctx = context()
    with entered(one.pid, "net"), socket.create_server(("127.0.0.1", 21)) as listener:
        client = socket.create_connection(listener.getsockname())
        server = listener.accept()[0]
        server.send(b"220 What the helper counts lines from\r\n")
        assert client.recv(100)
        server.send(b"227 Entering Passive Mode (127,0,0,1,200,10)\r\n")
        assert client.recv(100)
        before = _expectations(one)
        assert "dport=51210" in before
        namespace.dump(ctx, images(ctx, tmp_path), Namespace("net", 9, 1, one.pid))
        server.close()
        client.close()
    restore(ctx, images(ctx, tmp_path), other)
    assert _expectations(other) == before


def _expectations(space: Space) -> str:
    """Without timeouts."""
    with entered(space.pid, "net"):
        return re.sub(r"^\d+ ", "", Path("/proc/thread-self/net/nf_conntrack_expect").read_text())


def _connections(space: Space) -> str:
    """Without timeouts, and counters of use."""
    with entered(space.pid, "net"):
        text = Path("/proc/thread-self/net/nf_conntrack").read_text()
    lines = [re.sub(r" use=\d+|(tcp +6) \d+", r"\1", line) for line in text.splitlines()]
    return "\n".join(sorted(lines))


@pytest.mark.parametrize("method", ["nftables", "iptables", "skip"])
def test_network_lock(spaces: list[Space], method: str) -> None:
    """Nothing passes while it is locked, but what has the mark; and afterwards there is nothing of it."""
    ctx = context()
    ctx.options.network_lock = method
    one = Space()
    spaces.append(one)
    one.run("ip link set lo up")
    before = one.run("nft list ruleset; iptables-legacy-save | grep -v '^#' || true")
    assert _passes(one)
    with lock.locked(ctx, [f"/proc/{one.pid}/ns/net"]):
        assert _passes(one) == (method == "skip")
        assert _passes(one, lock.SOCKET_MARK)
    assert _passes(one)
    assert "CRIU" not in one.run("nft list ruleset")
    assert method == "iptables" or one.run("nft list ruleset; iptables-legacy-save | grep -v '^#' || true") == before


@pytest.mark.parametrize("method", ["nftables", "iptables"])
def test_network_lock_of_the_dead(spaces: list[Space], method: str) -> None:
    """An engine that is killed leaves no lock."""
    ctx = context()
    ctx.options.network_lock = method
    one = Space()
    spaces.append(one)
    one.run("ip link set lo up")
    ready, told = os.pipe()
    engine = os.fork()
    if not engine:
        with lock.locked(ctx, [f"/proc/{one.pid}/ns/net"]):
            os.write(told, b"x")
            signal.pause()
    os.close(told)
    assert os.read(ready, 1) == b"x"
    assert not _passes(one)
    os.kill(engine, signal.SIGKILL)
    os.waitpid(engine, 0)
    os.close(ready)
    assert poll(lambda: _passes(one) or None, 5), "the lock is still there"


def _passes(space: Space, mark: int = 0) -> bool:
    """Whether a datagram comes through the loopback device."""
    with (
        entered(space.pid, "net"),
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        other.bind(("127.0.0.1", 0))
        other.settimeout(0.2)
        if mark:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        try:
            one.sendto(b"x", other.getsockname())
            return other.recv(1) == b"x"
        except (TimeoutError, PermissionError):
            return False
