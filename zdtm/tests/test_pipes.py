"""Pipes and files of procfs: what leads out of the tree is refused by name, and so are images of pipes that are bad."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.context import Schema
from engine.images.files import Images
from zdtm.tests.tasks import Criu, end_restored, wait

QUIET = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

int main(int argc, char **argv)
{
	sigset_t all, before;
	int fds[2];

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	signal(SIGTERM, finish);
	if (argc > 1)
		open(argv[1], argc > 2 && *argv[2] == 'w' ? O_WRONLY : O_RDONLY);
	else if (pipe(fds) || write(fds[1], "contents", 8) != 8)
		return 1;
	write(1, "ready\n", 6);
	while (!done)
		sigsuspend(&before);
	return 0;
}
"""
HELD = "outside of the tree"


@pytest.fixture
def task(c_program, start) -> Callable[..., subprocess.Popen[bytes]]:  # type: ignore[no-untyped-def]
    def run(*args: str) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = start(c_program(QUIET), *args)
        wait(lambda: process.log.read_bytes() == b"ready\n")  # type: ignore[attr-defined]
        return process

    return run


@pytest.fixture
def store(criu: Criu, task, images: str) -> Iterator[Images]:  # type: ignore[no-untyped-def]
    """The images of a task with one pipe that has contents; it is gone."""
    process = task()
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    with_images = Images.open(Schema(), images)
    yield with_images
    with_images.close()


def refused(criu: Criu, *args: str) -> str:
    done = criu(*args, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_the_other_end_is_outside(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """Held by us it is refused, for either end; closed everywhere, it is not."""
    for mode, other in (("r", "writing"), ("w", "reading")):
        reader, writer = os.pipe()
        mine, its = (writer, reader) if mode == "r" else (reader, writer)
        process = task(f"/proc/{os.getpid()}/fd/{its}", mode)
        os.close(its)
        line = refused(criu, "dump", "-t", str(process.pid), "-D", images)
        assert f"pid {process.pid}: fd 3 (pipe pipe:[" in line and f"its {other} end is held" in line and HELD in line
        assert f"by pid {os.getpid()} (" in line
        assert not os.listdir(images)
        os.close(mine)
        criu("dump", "-t", str(process.pid), "-D", images, "--leave-running")
        process.terminate()
        assert process.wait() == 0
        process.log.unlink()
        for name in os.listdir(images):
            Path(images, name).unlink()


@pytest.mark.parametrize("ended", [False, True])
def test_procfs_of_others(criu: Criu, task, images: str, ended: bool) -> None:  # type: ignore[no-untyped-def]
    """Files of a task outside of the tree, or of none at all."""
    other = subprocess.Popen(["sleep", "100"])
    try:
        process = task(f"/proc/{other.pid}/stat")
    finally:
        if ended:
            other.kill()
            other.wait()
    line = refused(criu, "dump", "-t", str(process.pid), "-D", images)
    assert f"/proc/{other.pid}/stat" in line and ("has ended" if ended else HELD) in line
    assert not os.listdir(images)
    other.kill()
    other.wait()


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
    bad(criu, store, f"file {pipe.id:#x}", "SIGIO")
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
