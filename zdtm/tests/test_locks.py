"""File locks, leases and owners: what leads out of the tree, what others hold, and images that are bad."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.context import Schema
from engine.images.files import Images
from zdtm.tests.tasks import Criu, end_restored, wait

HOLDER = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

int main(int argc, char **argv)
{
	struct flock lock = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
	sigset_t all, before;
	int fd, pipes[2];

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	signal(SIGTERM, finish);
	fd = open(argv[2], O_CREAT | O_RDWR, 0600);
	if (argc < 3 || fd < 0 || (!strcmp(argv[1], "posix") && fcntl(fd, F_SETLK, &lock)) ||
		(!strcmp(argv[1], "ofd") && fcntl(fd, F_OFD_SETLK, &lock)) ||
		(!strcmp(argv[1], "flock") && flock(fd, LOCK_EX)) ||
		(!strcmp(argv[1], "lease") && fcntl(fd, F_SETLEASE, F_WRLCK)))
		return 1;
	if (!strcmp(argv[1], "flock-pipe") && (pipe(pipes) || flock(pipes[0], LOCK_EX)))
		return 1;
	if (!strcmp(argv[1], "owner") && (pipe(pipes) || fcntl(pipes[0], F_SETOWN, atoi(argv[3]))))
		return 1;
	write(1, "ready\n", 6);
	while (!done)
		sigsuspend(&before);
	return 0;
}
"""


@pytest.fixture
def hold(c_program, start) -> Callable[..., subprocess.Popen[bytes]]:  # type: ignore[no-untyped-def]
    def run(*args: object) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = start(c_program(HOLDER), *map(str, args))
        wait(lambda: process.log.read_bytes() == b"ready\n")  # type: ignore[attr-defined]
        return process

    return run


@pytest.fixture
def dumped(criu: Criu, hold, images: str, tmp_path: Path) -> Callable[[str], Path]:  # type: ignore[no-untyped-def]
    """The images of a task that has one lock; it is gone. Gives the file."""

    def run(kind: str) -> Path:
        file = tmp_path / "locked"
        process = hold(kind, file)
        criu("dump", "-t", str(process.pid), "-D", images, "--file-locks")
        process.wait()
        return file

    return run


def refused(criu: Criu, *args: str) -> str:
    done = criu(*args, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def restore(criu: Criu, images: str) -> int:
    pidfile = Path(images) / "pid"
    criu("restore", "-d", "-S", "-D", images, "--pidfile", str(pidfile))
    return int(pidfile.read_text())


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("posix", "POSIX write lock of bytes 10 to 19"),
        ("ofd", "OFD write lock of bytes 10 to 19"),
        ("flock", "flock write lock"),
    ],
)
def test_held_by_another(criu: Criu, dumped, images: str, kind: str, what: str) -> None:  # type: ignore[no-untyped-def]
    """What is locked by somebody else meanwhile cannot be restored: file and holder are named, nothing is left."""
    file = dumped(kind)
    with file.open("r+b") as mine:
        if kind == "flock":
            fcntl.flock(mine, fcntl.LOCK_SH)
        else:
            fcntl.lockf(mine, fcntl.LOCK_EX, 5, 15)
        said = refused(criu, "restore", "-d", "-D", images)
        assert f"{what} of {file}; pid {os.getpid()} (" in said and "Resource temporarily unavailable" in said, said
        assert not os.path.exists(f"/proc/{root_of(images)}")
    end_restored(restore(criu, images))


def root_of(images: str) -> int:
    store = Images.open(Schema(), images)
    try:
        return int(store.read("PSTREE")[0].pid)
    finally:
        store.close()


def test_open_elsewhere(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """A write lease takes a file that nobody else has open."""
    file = dumped("lease")
    with file.open("rb"):
        said = refused(criu, "restore", "-d", "-D", images)
        assert f"write lease of {file}; pid {os.getpid()} (" in said and "has it open" in said, said
    end_restored(restore(criu, images))


@pytest.mark.parametrize(
    ("kind", "fd", "name", "listed"),
    [("lease", 3, "LEASE", "LEASE  ACTIVE    WRITE"), ("flock-pipe", 4, "FLOCK", "FLOCK  ADVISORY  WRITE")],
)
def test_needs_the_option(  # type: ignore[no-untyped-def]
    criu: Criu, hold, images: str, tmp_path: Path, kind: str, fd: int, name: str, listed: str
) -> None:
    """Also of a pipe, which is looked at in the frozen tree alone: that runs on."""
    process = hold(kind, tmp_path / "locked")
    said = refused(criu, "dump", "-t", str(process.pid), "-D", images)
    assert f"has file locks ({name}): use --file-locks" in said
    assert not os.listdir(images)
    assert listed in Path(f"/proc/{process.pid}/fdinfo/{fd}").read_text()
    wait(lambda: "State:\tS" in Path(f"/proc/{process.pid}/status").read_text())  # let go of, it runs for a moment


@pytest.mark.parametrize("what", ["pid", "process group"])
def test_owner_outside(criu: Criu, hold, images: str, tmp_path: Path, what: str) -> None:  # type: ignore[no-untyped-def]
    owner = os.getpid() if what == "pid" else -os.getpgrp()
    process = hold("owner", tmp_path / "file", owner)
    said = refused(criu, "dump", "-t", str(process.pid), "-D", images)
    assert f"signals go to {what} {abs(owner)} (F_SETOWN), outside of the tree" in said


@pytest.mark.parametrize(
    ("kind", "field", "value", "what"),
    [
        ("posix", "pid", 1, "POSIX lock of pid 1, fd 3: this task is not in pstree.img"),
        ("posix", "fd", 99, "fd 99: there is no such descriptor"),
        ("posix", "type", 2, "type 2: there is no such lock"),
        ("posix", "flag", 16, "there is no such lock"),
        ("posix", "start", -1, "no such range"),
        ("posix", "len", (1 << 63) - 1, "no such range"),
        ("lease", "type", 5, "type 5: there is no such lock"),
        ("lease", "broken_type", 2, "there is no such lock"),
    ],
)
def test_bad_lock(  # type: ignore[no-untyped-def]
    criu: Criu, dumped, images: str, kind: str, field: str, value: int, what: str
) -> None:
    dumped(kind)
    store = Images.open(Schema(), images)
    entries = store.read("FILE_LOCKS")
    setattr(entries[0], field, value)
    os.unlink(f"{images}/filelocks.img")
    store.write("FILE_LOCKS", (), entries)
    store.close()
    said = refused(criu, "restore", "-d", "-D", images)
    assert "filelocks.img" in said and what in said, said


def test_truncated_or_foreign(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    dumped("flock")
    path = Path(images) / "filelocks.img"
    whole = path.read_bytes()
    for bad in (whole[:-3], whole[:6], whole[:4] + b"\0\0\0\0" + whole[8:], b"", whole + b"x"):
        path.write_bytes(bad)
        assert "filelocks.img" in refused(criu, "restore", "-d", "-D", images)
    path.write_bytes(whole)
    end_restored(restore(criu, images))


def test_bad_owner(criu: Criu, hold, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    process = hold("owner", tmp_path / "file", 0)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    store = Images.open(Schema(), images)
    entries = store.read("FILES")
    pipe = next(e.pipe for e in entries if e.HasField("pipe"))
    for fields, what in (
        ({"pid": 1, "pid_type": 1}, "its owner 1 (F_SETOWN) is not in the tree"),
        ({"pid": process.pid, "pid_type": 7}, "there are none such"),
        ({"pid": process.pid, "pid_type": 1, "signum": 65}, "there are none such"),
    ):
        for name, value in fields.items():
            setattr(pipe.fown, name, value)
        os.unlink(f"{images}/files.img")
        store.write("FILES", (), entries)
        said = refused(criu, "restore", "-d", "-D", images)
        assert what in said, said
    store.close()
