"""Namespaces that are there before a restore: --join-ns, and external ones; what may be said of them."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadOption
from engine.externals import parse
from engine.kernel import proc
from engine.kernel.namespaces import FLAGS
from engine.kernel.uapi import prctl as pr
from engine.namespaces.join import joined
from engine.network.external import given, is_name
from engine.options import Options
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, refused, wait
from zdtm.tests.worlds import world


def options(**values: Any) -> Options:
    """Options with these."""
    out = Options()
    for name, value in values.items():
        setattr(out, name, value)
    return out


def test_joined() -> None:
    """Every form: a pid, a file, ids of a user namespace."""
    its = joined(options(join_ns=["net:/proc/self/ns/net", f"uts:{os.getpid()}", "user:/proc/self/ns/user,0,0"]))
    assert {kind: j.path for kind, j in its.items()} == {
        "net": "/proc/self/ns/net",
        "uts": f"/proc/{os.getpid()}/ns/uts",
        "user": "/proc/self/ns/user",
    }
    for one in its.values():
        os.close(one.open())


@pytest.mark.parametrize(
    "value", ["net", "net:", "nets:1", "user:1,7,8", "net:1,2,3", "user:1,2", "user:1,a,b", "user:1,2,3,4"]
)
def test_not_joined(value: str) -> None:
    """What is none of them is named."""
    with pytest.raises(BadOption, match="--join-ns"):
        joined(options(join_ns=[value]))


@pytest.mark.parametrize("value", ["net:/proc/self/ns/uts", "net:/dev/null", "net:/nowhere"])
def test_not_a_namespace(value: str) -> None:
    """A file that is no namespace, or one of another kind."""
    with pytest.raises(BadOption, match="--join-ns"):
        joined(options(join_ns=[value]))["net"].open()


def test_twice() -> None:
    """One of a kind."""
    with pytest.raises(BadOption, match="twice"):
        joined(options(join_ns=["net:1", "net:2"]))


def test_given() -> None:
    """--external of devices, and names that would lead out of the directory of a device's sysctls."""
    its = options(externals=parse(["veth[a]:b@c", "veth[d]", "mnt[x]:y"]))
    assert given(its, "veth") == {"a": "b@c", "d": ""}
    for bad in ("veth[a", "veth[]:x", "veth[a]x"):
        with pytest.raises(BadOption, match="--external"):
            parse([bad])
    assert is_name("eth0.100")
    for name in ("", ".", "..", "a/b", "a b", "a:b", "x" * 16):
        assert not is_name(name)


def link(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def init() -> None:
    """Start the first process of the pid namespace for children."""
    if not os.fork():
        ctypes.CDLL(None).prctl(pr.PR_SET_PDEATHSIG, signal.SIGKILL)
        while True:
            signal.pause()


SEVERAL = ("net", "uts", "ipc", "mnt", "cgroup")


@pytest.mark.parametrize("kinds", [("net",), SEVERAL])
def test_restored_into(criu: Criu, dumped, images: str, kinds: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A tree without namespaces of its own is put into others', and into no other ones."""
    with world(SEVERAL) as (pid, _):
        join = [word for kind in kinds for word in ("-J", f"{kind}:{pid}")]
        criu("restore", "-d", "-S", "-D", images, *join)
        for kind in FLAGS:
            assert link(dumped.pid, kind) == link(pid if kind in kinds else os.getpid(), kind)
        end_restored(dumped.pid)


def test_restored_into_time(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    with world(("time",)) as (pid, _):
        path = f"/proc/{pid}/ns/time_for_children"
        criu("restore", "-d", "-S", "-D", images, "-J", f"time:{path}")
        assert link(dumped.pid, "time") == os.readlink(path) != link(os.getpid(), "time")
        end_restored(dumped.pid)


def test_restored_into_user(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """It is root there, of network and pid namespaces that belong to it; a user namespace alone does not do."""
    with world(("user", "net", "pid"), init) as (pid, _):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text("0 0 65536")
        (first,) = proc.children(pid)
        assert "--join-ns pid:" in refused(criu, "restore", "-d", "-D", images, "-J", f"user:{pid}")
        join = [word for kind in ("user", "net", "pid") for word in ("-J", f"{kind}:{first}")]
        criu("restore", "-d", "-S", "-D", images, "--pidfile", "pid", *join)
        its = int(Path(images, "pid").read_text())
        for kind in ("user", "net", "pid"):
            assert link(its, kind) == link(first, kind)
        end_restored(its)


def test_restored_into_pid(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """Its pid there is the one that it had."""
    with world(("pid",), init) as (pid, _):
        (first,) = proc.children(pid)
        criu("restore", "-d", "-S", "-D", images, "--pidfile", "pid", "-J", f"pid:{first}")
        its = int(Path(images, "pid").read_text())
        assert link(its, "pid") == link(first, "pid")
        assert proc.status(its)["NSpid"].split()[-1] == str(dumped.pid)
        end_restored(its)


def test_failure_in_a_pid_namespace(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """What others are in is not taken down with the tree that fails in it."""
    Path(images, f"fs-{dumped.pid}.img").write_bytes(b"")
    with world(("pid",), init) as (pid, _):
        (first,) = proc.children(pid)
        assert criu("restore", "-d", "-D", images, "-J", f"pid:{first}", check=False).returncode == 1
        assert [p for p in os.listdir("/proc") if p.isdigit() and _is_in(int(p), first)] == [str(first)]


def _is_in(pid: int, other: int) -> bool:
    try:
        return link(pid, "pid") == link(other, "pid")
    except OSError:
        return False


def ready(process) -> None:  # type: ignore[no-untyped-def]
    wait(lambda: process.log.read_bytes() == b"ready\n")


def test_external_net(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """What is in it is not looked at, and nothing is done to the one that is given."""
    with world(("net",)) as (pid, _), world(("net", "uts")) as (other, _):
        process = start("nsenter", f"--net=/proc/{pid}/ns/net", str(c_program(PROGRAMS / "quiet.c")))
        ready(process)
        inode = os.stat(f"/proc/{pid}/ns/net").st_ino
        criu("dump", "-t", str(process.pid), "-D", images, "--external", f"net[{inode}]:pod")
        process.wait()
        assert not [name for name in os.listdir(images) if name.startswith(("netdev", "ifaddr", "route"))]
        assert "--inherit-fd fd[N]:pod" in refused(criu, "restore", "-d", "-D", images)
        args = ("restore", "-d", "-D", images, "--inherit-fd")
        for kind in ("net", "uts"):
            fd = os.open(f"/proc/{other}/ns/{kind}", os.O_RDONLY)
            if kind == "uts":
                assert "is a uts namespace" in refused(criu, *args, f"fd[{fd}]:pod", pass_fds=(fd,))
            else:
                criu(*args, f"fd[{fd}]:pod", "-S", pass_fds=(fd,))
                assert link(process.pid, "net") == link(other, "net")
                end_restored(process.pid)
            os.close(fd)
        criu("restore", "-d", "-S", "-D", images, "-J", f"net:{pid}")
        assert link(process.pid, "net") == link(pid, "net")
        end_restored(process.pid)


def test_external_net_of_a_child(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """The root task stays where the engine is, its child comes to what is given."""
    with world(("net",)) as (pid, _):
        process = start("sh", "-c", f"unshare --net {c_program(PROGRAMS / 'quiet.c')} & wait")
        ready(process)
        (child,) = proc.children(process.pid)
        inode = os.stat(f"/proc/{child}/ns/net").st_ino
        criu("dump", "-t", str(process.pid), "-D", images, "--external", f"net[{inode}]:pod")
        process.wait()
        assert "--join-ns" not in refused(criu, "restore", "-d", "-D", images)
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        criu("restore", "-d", "-S", "-D", images, "--inherit-fd", f"fd[{fd}]:pod", pass_fds=(fd,))
        os.close(fd)
        assert link(child, "net") == link(pid, "net")
        assert link(process.pid, "net") == link(os.getpid(), "net")
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(process.pid, 0)[1] == 0
        assert process.log.read_text() == "ready\n"


def test_external_pid(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """A tree in a pid namespace that it shares with others comes back to one, with its pids there."""
    with world(("pid",), init) as (pid, _), world(("pid",), init) as (other, _):
        (first,), (there,) = proc.children(pid), proc.children(other)
        program = str(c_program(PROGRAMS / "quiet.c"))
        process = start("nsenter", f"--pid=/proc/{first}/ns/pid", "setsid", program)
        ready(process)
        (its,) = proc.children(process.pid)
        inner = proc.status(its)["NSpid"].split()[-1]
        assert inner == "2"
        line = refused(criu, "dump", "-t", str(its), "-D", images)
        inode = os.stat(f"/proc/{first}/ns/pid").st_ino
        assert f"--external pid[{inode}]:NAME" in line
        criu("dump", "-t", str(its), "-D", images, "--external", f"pid[{inode}]:pod")
        process.wait()
        assert "--inherit-fd fd[N]:pod" in refused(criu, "restore", "-d", "-D", images)
        fd = os.open(f"/proc/{there}/ns/pid", os.O_RDONLY)
        args = ("-D", images, "--pidfile", "pid", "--inherit-fd", f"fd[{fd}]:pod")
        criu("restore", "-d", "-S", *args, pass_fds=(fd,))
        now = int(Path(images, "pid").read_text())
        assert link(now, "pid") == link(there, "pid")
        assert proc.status(now)["NSpid"].split()[-1] == inner
        end_restored(now)
        os.close(fd)
