"""Pipes and files of procfs: what leads out of the tree is refused by name, and so are images of pipes that are bad."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.context import Schema
from engine.images.files import Images
from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.flavours import FLAVOURS, Range
from zdtm.modes import Mode
from zdtm.places import places
from zdtm.run import Run, run_case
from zdtm.tests.tasks import Criu, empty, end_restored, refused

HELD = "outside of the tree"
MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY}


@pytest.fixture
def store(criu: Criu, task, images: str) -> Iterator[Images]:  # type: ignore[no-untyped-def]
    """The images of a task with one pipe that has contents; it is gone."""
    process = task()
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    with_images = Images.open(Schema(), images)
    yield with_images
    with_images.close()


def test_the_other_end_is_outside(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """Held by us it is said, for either end, and a restore wants another one; closed everywhere, it is not."""
    for mode, other in (("r", "writing"), ("w", "reading")):
        reader, writer = os.pipe()
        mine, its = (writer, reader) if mode == "r" else (reader, writer)
        process = task(f"/proc/{os.getpid()}/fd/{its}", str(MODES[mode]))
        key = os.readlink(f"/proc/{process.pid}/fd/3")
        os.close(its)
        done = criu("dump", "-t", str(process.pid), "-D", images, "--leave-running", check=False)
        assert done.returncode == 0 and len(done.stderr.splitlines()) == 1, done.stderr
        assert f"pid {process.pid}: fd 3 (pipe {key}): its {other} end is {HELD}" in done.stderr.replace("held ", "")
        assert f"--inherit-fd fd[N]:{key}" in done.stderr
        os.close(mine)
        process.terminate()
        assert process.wait() == 0
        line = refused(criu, "restore", "-d", "-D", images)
        assert f"the {other} end of {key}" in line and f"--inherit-fd fd[N]:{key}" in line
        process.log.unlink()
        empty(images)


def test_closed_everywhere(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """Of such a pipe nothing has to be given."""
    for mode in "rw":
        reader, writer = os.pipe()
        process = task(f"/proc/{os.getpid()}/fd/{reader if mode == 'r' else writer}", str(MODES[mode]))
        os.close(reader)
        os.close(writer)
        done = criu("dump", "-t", str(process.pid), "-D", images)
        assert not done.stderr
        assert process.wait() == -9
        criu("restore", "-d", "--restore-sibling", "-D", images)
        end_restored(process.pid)
        process.log.unlink()
        empty(images)


def test_procfs_of_others(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """Files of a task outside of the tree; of one that has ended they come back as that."""
    other = subprocess.Popen(["sleep", "100"])
    try:
        process = task(f"/proc/{other.pid}/stat")
        line = refused(criu, "dump", "-t", str(process.pid), "-D", images)
        assert f"/proc/{other.pid}/stat" in line and HELD in line
        assert not os.listdir(images)
    finally:
        other.kill()
        other.wait()
    shown = os.readlink(f"/proc/{process.pid}/fd/3")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    criu("restore", "-d", "--restore-sibling", "-D", images)
    assert os.readlink(f"/proc/{process.pid}/fd/3") == shown
    end_restored(process.pid)


HOLDER = """
import fcntl, os, resource, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
largest = int(open("/proc/sys/fs/pipe-max-size").read())
os.setresuid(*3 * [int(sys.argv[1])])
try:
    while True:
        fcntl.fcntl(os.pipe()[0], fcntl.F_SETPIPE_SZ, largest)
except PermissionError:
    print("full", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["pipe_full", "fifo_packets", "fds_many"])
def test_user_has_too_many(engine_criu: Path, request: pytest.FixtureRequest, name: str) -> None:
    """A pipe is as large as it was, also where its user may have none of that size any more (pipe(7))."""
    uid = 710000
    userns = replace(FLAVOURS["userns"], uid_map=(Range(0, uid, 10000), Range(10000, uid + 10000, 55536)))

    def limited_restore(run: Run) -> None:
        command = [sys.executable, "-c", HOLDER, str(uid)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout and holder.stdin
            assert holder.stdout.readline() == b"full\n"
            steps.restore(run)
            holder.stdin.close()

    mode = Mode("limited", "limited", (steps.dump, limited_restore))
    ours, where = engine(engine_criu), places(request.config.rootpath)
    case = load(Path(__file__).parents[1] / "static" / f"{name}.c")
    run_case(case, userns, mode, ours, ours, where, label="limited")


def bad(criu: Criu, store: Images, *words: str) -> None:
    line = refused(criu, "restore", "-d", "-D", store.path)
    for word in words:
        assert word in line


def test_bad_contents(criu: Criu, store: Images) -> None:
    """Truncated, twice, of a pipe that is not there, more than fits, in parts that are less than all."""
    image = Path(store.path, "pipes-data.img")
    whole = image.read_bytes()
    for size in (len(whole) - 1, len(whole) - 8, 9, 5):
        image.write_bytes(whole[:size])
        bad(criu, store, "pipes-data.img", "truncated")
    image.write_bytes(whole)
    [(entry, contents)] = store.read_payload("PIPES_DATA")
    assert (entry.bytes, entry.size, contents) == (8, 65536, b"contents")
    store.write_payload("PIPES_DATA", (), [(entry, contents)] * 2)
    bad(criu, store, "pipes-data.img", "contents already")
    new = Schema().message("pipe_data_entry")
    other = new(pipe_id=entry.pipe_id + 1, bytes=8)
    store.write_payload("PIPES_DATA", (), [(entry, contents), (other, contents)])
    bad(criu, store, "pipes-data.img", "no end of it")
    large = new(pipe_id=entry.pipe_id, bytes=4097, size=4096)
    store.write_payload("PIPES_DATA", (), [(large, bytes(4097))])
    bad(criu, store, "pipes-data.img", "last 1 bytes do not fit")
    entry.parts.add(bytes=7, packet=True)
    store.write_payload("PIPES_DATA", (), [(entry, contents)])
    bad(criu, store, "pipes-data.img", "parts")


def test_bad_ends(criu: Criu, store: Images) -> None:
    entries = store.read("FILES")
    pipe = next(e for e in entries if e.type == 2)
    pipe.pipe.fown.pid = 1
    store.write("FILES", (), entries)
    bad(criu, store, f"file {pipe.id:#x}", "F_SETOWN", "not in the tree")
    pipe.ClearField("pipe")
    store.write("FILES", (), entries)
    bad(criu, store, f"file {pipe.id:#x}", "without a pipe_entry")


def test_without_contents(criu: Criu, store: Images) -> None:
    """A pipe of which nothing is said is empty."""
    Path(store.path, "pipes-data.img").unlink()
    pid = store.read("PSTREE")[0].pid
    criu("restore", "-d", "--restore-sibling", "-D", store.path)
    fd = os.open(f"/proc/{pid}/fd/3", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        os.read(fd, 1)
    os.close(fd)
    end_restored(pid)


def test_bad_fifo(criu: Criu, task, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Truncated contents; a name that is gone, of another type, of a FIFO that is in use; an entry without a name."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = task(str(fifo), str(os.O_RDWR))
    fd = os.open(fifo, os.O_WRONLY)
    os.write(fd, b"contents")
    os.close(fd)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    image = Path(images, "fifo-data.img")
    whole = image.read_bytes()
    for size in (len(whole) - 1, 9, 5):
        image.write_bytes(whole[:size])
        assert "fifo-data.img" in (line := refused(criu, "restore", "-d", "-D", images)) and "truncated" in line
    image.write_bytes(whole)
    fd = os.open(fifo, os.O_RDWR)
    os.write(fd, b"other")
    line = refused(criu, "restore", "-d", "-D", images)
    assert f"{fifo} has 5 bytes in it: somebody else uses it" in line
    os.close(fd)
    fifo.unlink()
    line = refused(criu, "restore", "-d", "-D", images)
    assert str(fifo) in line and "No such file" in line
    fifo.write_bytes(b"")
    assert f"{fifo} has changed its type" in refused(criu, "restore", "-d", "-D", images)
    assert fifo.read_bytes() == b""
    fifo.unlink()
    os.mkfifo(fifo)
    os.chmod(fifo, 0o644)
    criu("restore", "-d", "--restore-sibling", "-D", images)
    assert fifo.is_fifo()
    end_restored(process.pid)
    store = Images.open(Schema(), images)
    entries = store.read("FILES")
    entry = next(e for e in entries if e.type == 3)
    entry.fifo.regf_id = 999
    store.write("FILES", (), entries)
    assert "a FIFO whose name, file 0x3e7, is not in it" in refused(criu, "restore", "-d", "-D", images)
    entry.ClearField("fifo")
    store.write("FILES", (), entries)
    assert "without a fifo_entry" in refused(criu, "restore", "-d", "-D", images)
    store.close()
