"""What cannot be restored of a network: one clear error, and nothing left of it; the network lock of a restore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

from engine.kernel.process import pidfd_getfd, pidfd_open
from engine.kernel.uapi import if_tun
from engine.network import links as net_links
from engine.network import tun
from zdtm.tests.tasks import PROGRAMS, Criu, empty, end_restored, refused, wait

OUT = f"zf{os.getpid() % 100000:05}"  # names on the machine are this run's own


def ip(*words: str, pid: int = 0) -> str:
    where = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
    return subprocess.run([*where, "ip", *words], capture_output=True, text=True, check=True, timeout=30).stdout


def links() -> set[str]:
    """The names of the machine's links that are this test's."""
    return {link["ifname"] for link in json.loads(ip("-j", "link")) if link["ifname"].startswith(OUT)}


@pytest.fixture
def inside(c_program, start) -> Iterator[subprocess.Popen[bytes]]:  # type: ignore[no-untyped-def]
    """A task in a network namespace of its own."""
    process = start("unshare", "--net", str(c_program(PROGRAMS / "quiet.c")))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    yield process
    for name in links():
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


def dumped(criu: Criu, process: subprocess.Popen[bytes], images: str) -> None:
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()


def test_other_end(criu: Criu, inside, images: str) -> None:  # type: ignore[no-untyped-def]
    """A veth end whose other end was outside: where to, on which bridge, by which name?"""
    ip("link", "add", f"{OUT}a", "type", "veth", "peer", "name", "zin", "netns", str(inside.pid))
    dumped(criu, inside, images)
    wait(lambda: not links())
    args = ("restore", "-d", "-D", images)
    assert "--external veth[zin]:NAME" in refused(criu, *args)
    assert f"the link {OUT}b, which is not there" in refused(criu, *args, "--external", f"veth[zin]:{OUT}a@{OUT}b")
    assert "link zin of kind veth: File exists" in refused(criu, *args, "--external", "veth[zin]:lo")
    wait(lambda: not links())
    assert not Path(f"/proc/{inside.pid}").exists()
    criu(*args, "-S", "--external", f"veth[zin]:{OUT}a")
    assert links() == {f"{OUT}a"}
    end_restored(inside.pid)


def test_device_that_is_moved_in(criu: Criu, inside, images: str) -> None:  # type: ignore[no-untyped-def]
    """It is the user's: where a restore fails it is there as before."""
    ip("link", "add", f"{OUT}a", "type", "veth", "peer", "name", f"{OUT}b")
    ip("link", "set", f"{OUT}a", "netns", str(inside.pid), "name", "zin")
    ip("link", "add", "zmore", "type", "veth", "peer", "name", "zless", pid=inside.pid)
    dumped(criu, inside, images)
    wait(lambda: not links())
    args = ("restore", "-d", "-D", images, "--external", f"netdev[zin]:{OUT}c")
    assert f"the link {OUT}c, which is not there" in refused(criu, *args)
    ip("link", "add", f"{OUT}c", "type", "veth", "peer", "name", f"{OUT}d")
    ip("link", "set", f"{OUT}c", "up")
    before = json.loads(ip("-j", "link", "show", f"{OUT}c"))
    inside.log.unlink()  # files are opened when the network is there
    assert "cannot open" in refused(criu, *args)
    assert json.loads(ip("-j", "link", "show", f"{OUT}c")) == before


def test_tun_of_others(criu: Criu, inside, images: str) -> None:  # type: ignore[no-untyped-def]
    """A device that goes with a file that nobody of the tree has: refused; the tree runs on, unlocked."""
    script = (
        "import sys; from fcntl import ioctl; from engine.network import tun;"
        "f = open('/dev/net/tun', 'r+b', buffering=0); ioctl(f, 0x400454CA, tun.request('ztun', 1)); print(1);"
        "sys.stdout.flush(); sys.stdin.read()"
    )
    command = ["nsenter", f"--net=/proc/{inside.pid}/ns/net", sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(tun.__file__).parents[2]
    ) as it:
        assert it.stdout and it.stdout.readline()
        assert "ztun: whoever holds this tun device is outside" in refused(
            criu, "dump", "-t", str(inside.pid), "-D", images
        )
    rules = ["nsenter", f"--net=/proc/{inside.pid}/ns/net", "nft", "list", "tables"]
    assert subprocess.run(rules, capture_output=True, check=True).stdout == b""
    assert not os.listdir(images)
    dumped(criu, inside, images)


def test_tun_on_the_host(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """A device of the engine's own network namespace: refused if it goes with the task, else found again."""
    process = task("/dev/net/tun", str(os.O_RDWR))
    name = f"{OUT}t"
    pidfd = pidfd_open(process.pid)
    file = pidfd_getfd(pidfd, 3)
    try:
        ioctl(file, if_tun.TUNSETIFF, tun.request(name, if_tun.IFF_TAP))
        assert f"its device {name} is in the engine's own" in refused(
            criu, "dump", "-t", str(process.pid), "-D", images
        )
        ioctl(file, if_tun.TUNSETPERSIST, 1)
        os.close(file)
        dumped(criu, process, images)
        criu("restore", "-d", "-S", "-D", images)
        os.close(pidfd)
        pidfd = pidfd_open(process.pid)
        file = pidfd_getfd(pidfd, 3)
        assert tun.flags_of(file) == (name, if_tun.IFF_TAP | if_tun.IFF_PERSIST | if_tun.IFF_NOFILTER)
        end_restored(process.pid)
    finally:
        os.close(file)
        os.close(pidfd)
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


def test_left_empty(criu: Criu, inside, images: str) -> None:  # type: ignore[no-untyped-def]
    """--empty-ns net: at dump nothing is looked at, at restore nothing is made, whatever the images have."""
    ip("link", "add", "zmore", "type", "veth", "peer", "name", "zless", pid=inside.pid)
    for at_dump, at_restore in (((), ("--empty-ns", "net")), (("--empty-ns", "net"), ())):
        criu("dump", "-t", str(inside.pid), "-D", images, *at_dump)
        if inside.returncode is None:
            inside.wait()
        else:
            os.waitpid(inside.pid, 0)
        assert any(name.startswith("netdev") for name in os.listdir(images)) == (not at_dump)
        criu("restore", "-d", "-S", "-D", images, *at_restore)
        assert [link["ifname"] for link in json.loads(ip("-j", "link", pid=inside.pid))] == ["lo"]
        ip("link", "add", "zmore", "type", "veth", "peer", "name", "zless", pid=inside.pid)
        empty(images)
    end_restored(inside.pid)


def test_kinds() -> None:
    """What cannot be made again is named, with what can be done about it."""
    link = object.__new__(net_links.Link)
    link.hardware, link.kind, link.name = 1, "wireguard", "wg0"
    (line,) = net_links.blockers([link], frozenset())
    assert line.startswith("link wg0: a wireguard device is not supported") and "--external netdev[wg0]" in line
    assert net_links.blockers([link], frozenset(["wg0"])) == []
    link.kind = ""
    assert "a device of hardware" in net_links.blockers([link], frozenset())[0]


LOOKS = """
import subprocess, sys
from engine import cli
from engine.namespaces import world
real = world.Outside.settle
def settle(self, opener):
    space = f"--net=/proc/{self._root}/ns/net"
    subprocess.run(["nsenter", space, "nft", "list", "tables"], check=True)
    real(self, opener)
    print("then", flush=True)
    subprocess.run(["nsenter", space, "nft", "list", "tables"], check=True)
world.Outside.settle = settle
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("options", "seen"), [((), "table inet criu-network-lock\n"), (("--network-lock", "skip"), "")]
)
def test_locked_until_let_go(criu: Criu, inside, images: str, options: tuple[str, ...], seen: str) -> None:  # type: ignore[no-untyped-def]
    """Nothing comes to what is half restored, where something may come."""
    ip("link", "add", "zmore", "type", "veth", "peer", "name", "zless", pid=inside.pid)
    dumped(criu, inside, images)
    command = [sys.executable, "-c", LOOKS, "restore", "-d", "-S", "-D", images, *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=True, cwd=Path(tun.__file__).parents[2]
    )
    assert done.stdout == f"{seen}then\n"
    end_restored(inside.pid)
