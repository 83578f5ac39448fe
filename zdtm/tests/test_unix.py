"""Unix sockets that cannot be dumped, or not be made again: one line each, and nothing left behind."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.images.files import Images
from engine.images.schema import Schema
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, finish, refused, wait

Task = Callable[..., Any]  # a process


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose name is short enough."""
    directory = Path(f"/tmp/zdtm-unix-{os.getpid()}")
    directory.mkdir()
    yield directory
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.fixture
def task(c_program: Callable[..., Path], start: Callable[..., Any]) -> Task:
    """Starts programs/unix.c in a mode, until it is ready."""

    def run(*args: str) -> Any:
        process = start(c_program(PROGRAMS / "unix.c"), *args)
        wait(lambda: process.log.read_bytes() == b"ready\n")
        return process

    return run


def test_refused(criu: Criu, task: Task, images: str, place: Path) -> None:
    """Everything is named, and the task runs on undisturbed."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as outside:
        outside.bind(str(place / "outside"))
        process = task("refused", str(place / "outside"))
        done = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    for what in (
        "a unix socket for a stream is not supported yet",
        "a unix socket for sequenced packets is not supported yet",
        "is outside of the tree: dump both together, or disconnect it",
        "1 descriptors wait in its queue (SCM_RIGHTS)",
        "this kind of file is not supported yet",  # a mere path of a socket
    ):
        assert sum(what in line for line in lines) == (2 if "stream" in what else 1), done.stderr
    assert len(lines) == 6, done.stderr
    assert not os.listdir(images)
    finish(process)


def test_refused_when_frozen(criu: Criu, task: Task, images: str, place: Path) -> None:
    """What nothing tells but a copy of the socket: nobody takes one of a task that runs."""
    for mode, what in (
        ("told", "with the credentials of its senders (SO_PASSCRED)"),
        ("replaced", f"whose name another one has now, @{str(place / 'a')[1:]}: connect it anew"),
    ):
        process = task(mode, str(place / "a"))
        assert what in refused(criu, "dump", "-t", str(process.pid), "-D", images)
        assert not os.listdir(images)
        finish(process)
        process.log.unlink()


def file(path: Path) -> None:
    path.write_bytes(b"a file")


def link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [file, link])
def test_name_taken(criu: Criu, task: Task, images: str, place: Path, make: Callable[[Path], None]) -> None:
    path = place / "bound"
    process = task("bound", str(path))
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    path.unlink()
    make(path)
    before = path.lstat()
    assert f"what is called {path} is no socket: move it away" in refused(criu, "restore", "-d", "-S", "-D", images)
    assert path.lstat() == before
    assert not os.path.exists(f"/proc/{process.pid}")


def test_another_socket(criu: Criu, task: Task, images: str, place: Path) -> None:
    """Then the directory is gone; at last it can be restored: over what is left of the old socket, and without that."""
    path = place / "bound"
    process = task("bound", str(path))
    path.chmod(0o640)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    old = path.lstat()
    path.unlink()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as other:
        other.bind(str(path))
        assert f"another socket is bound to {path}" in refused(criu, "restore", "-d", "-S", "-D", images)
        other.listen()
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
            client.connect(str(path))
    path.unlink()
    place.rename(f"{place}-away")
    try:
        assert f"the directory of {path} is not there" in refused(criu, "restore", "-d", "-S", "-D", images)
    finally:
        Path(f"{place}-away").rename(place)
    for _ in range(2):
        criu("restore", "-d", "-S", "-D", images)
        assert stat.S_ISSOCK(path.lstat().st_mode) and path.lstat().st_mode == old.st_mode
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as client:
            client.connect(str(path))
        end_restored(process.pid)
        assert os.listdir(place) == ["bound"]


def test_failure_leaves_nothing(criu: Criu, task: Task, images: str, place: Path) -> None:
    """The name of one is taken: that of the other, which is made before, goes again, or stays what it was."""
    path = place / "bound"
    process = task("bound", str(path))
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.bind("\0" + str(path)[1:])
        for names in (["bound"], []):
            line = refused(criu, "restore", "-d", "-S", "-D", images)
            assert f"cannot be bound to @{str(path)[1:]}: another socket has that name" in line
            assert os.listdir(place) == names
            for name in names:
                (place / name).unlink()
    criu("restore", "-d", "-S", "-D", images)
    end_restored(process.pid)


def stream(its: list[Any], packet: Any) -> None:
    its[0].type = 1


def outside(its: list[Any], packet: Any) -> None:
    its[1].peer = 1


def external(its: list[Any], packet: Any) -> None:
    its[1].uflags = 1


def long_name(its: list[Any], packet: Any) -> None:
    its[0].name = b"/" + b"x" * 108 + b"\0"


def open_name(its: list[Any], packet: Any) -> None:
    its[0].name = its[0].name[:-1]


def lost_directory(its: list[Any], packet: Any) -> None:
    its[0].name_dir = "relative"


def same_inode(its: list[Any], packet: Any) -> None:
    its[1].ino = its[0].ino


def third(its: list[Any], packet: Any) -> None:
    """Two are connected to one that has no name."""
    its[0].name, its[0].peer, its[1].peer = b"", its[1].ino, its[0].ino
    its[1].name = b""
    its[0].closed_peer = b""
    its[1].peer = its[1].ino


def for_nobody(its: list[Any], packet: Any) -> None:
    packet.id_for = 0x777


def for_unnamed(its: list[Any], packet: Any) -> None:
    its[0].name, its[0].state = b"", 7


def rights(its: list[Any], packet: Any) -> None:
    packet.scm.add(type=1, rights=[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (stream, "unix sockets of type 1 are not supported yet"),
        (outside, "a peer outside of the tree: not supported yet"),
        (external, "a peer outside of the tree: not supported yet"),
        (long_name, "no unix socket can have the name"),
        (open_name, "no unix socket can have the name"),
        (lost_directory, "its directory 'relative' is no full path"),
        (same_inode, "another file has the inode"),
        (third, "its peer has no name, and is another one's already"),
        (for_nobody, "a packet for file 0x777, which is no socket"),
        (for_unnamed, "something waits in it, which nobody can have sent"),
        (rights, "descriptors in its queue are not supported yet"),
    ],
)
def test_foreign(
    criu: Criu, task: Task, images: str, place: Path, change: Callable[[list[Any], Any], None], says: str
) -> None:
    process = task("bound", str(place / "bound"))
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    its = Images.open(Schema(), images)
    files, ((packet, data),) = its.read("FILES"), its.read_payload("SK_QUEUES")
    change([entry.usk for entry in files if entry.HasField("usk")], packet)
    its.write("FILES", (), files)
    its.write_payload("SK_QUEUES", (), [(packet, data)])
    its.close()
    assert says in refused(criu, "restore", "-d", "-S", "-D", images)
    assert os.listdir(place) == ["bound"]


def test_too_many(criu: Criu, task: Task, images: str, place: Path) -> None:
    """More waits than there may here: sockets take net.unix.max_dgram_qlen from whoever is not their peer."""
    process = task("bound", str(place / "bound"))
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    its = Images.open(Schema(), images)
    its.write_payload("SK_QUEUES", (), its.read_payload("SK_QUEUES") * 1000)
    its.close()
    line = refused(criu, "restore", "-d", "-S", "-D", images)
    assert "of 1000, 1 bytes: " in line and "net.unix.max_dgram_qlen" in line
    assert not os.path.exists(f"/proc/{process.pid}")
