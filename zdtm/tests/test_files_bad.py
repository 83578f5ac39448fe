"""Files that have changed, or that cannot be dumped or made anew: one line each, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.files import remap
from engine.kernel import proc
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, wait
from zdtm.tests.test_bad_input import refused

ODD = os.fsdecode(b"new\nline \377\376 (deleted)")
SIZE = 100_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for the file that is open; nothing may be left in it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def opens(c_program, start, place: Path):  # type: ignore[no-untyped-def]
    """Starts a task that has a new file open: opens("file", "rw"), or with "gone" behind that, deleted."""

    def make(name: str, mode: str, *more: str, contents: bytes = b"x" * SIZE):  # type: ignore[no-untyped-def]
        (place / name).write_bytes(contents)
        process = start(c_program(PROGRAMS / "opens.c"), mode, str(place / name), *more)
        wait(lambda: process.log.read_bytes() == b"ready\n" and proc.Stat(process.pid).state == "S")
        return process

    return make


@contextmanager
def tmpfs(directory: Path | str, size: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def gone(path: Path) -> None:
    path.unlink()


def shorter(path: Path) -> None:
    os.truncate(path, SIZE - 1)


def other(path: Path) -> None:
    path.write_bytes(b"y" * SIZE)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    os.mknod(path, 0o20600, os.makedev(1, 3))


def symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


def mode(path: Path) -> None:
    path.chmod(0o4711)


@pytest.mark.parametrize("name", ["file", ODD])
@pytest.mark.parametrize(
    ("how", "change", "says"),
    [
        ("r", gone, "No such file or directory"),
        ("r", shorter, f"has {SIZE - 1} bytes, but had {SIZE}"),
        ("r", other, "has changed since the dump"),
        ("r", directory, "has changed its type"),
        ("rw", directory, "Is a directory"),
        ("r", fifo, "has changed its type"),
        ("rw", fifo, "has changed its type"),
        ("w", fifo, "No such device or address"),
        ("rw", device, "has changed its type"),
        ("rw", symlink, "has changed its type"),
        ("rw", mode, "chmod it or use --skip-file-rwx-check"),
    ],
)
def test_changed(  # type: ignore[no-untyped-def]
    criu: Criu, opens, images: str, place: Path, name: str, how: str, change: Callable[[Path], None], says: str
) -> None:
    process = opens(name, how)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    change(place / name)
    line = refused(criu, process.pid, "restore", "-d", "-D", images, names="place/")
    assert says in line


def test_file_that_is_executed_by_now(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    """Root may open everything but this."""
    process = opens("sleep", "rw", contents=Path("/bin/sleep").read_bytes())
    (place / "sleep").chmod(0o755)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    with subprocess.Popen([place / "sleep", "100"]) as running:
        try:
            refused(criu, process.pid, "restore", "-d", "-D", images, names="sleep (file 0x")
        finally:
            running.kill()
    criu("restore", "-d", "-S", "-D", images)


@pytest.mark.parametrize("limit", ["65536", "64K", "0"])
def test_ghost_above_the_limit(criu: Criu, opens, images: str, limit: str) -> None:  # type: ignore[no-untyped-def]
    process = opens(ODD, "r", "gone")
    where = ["dump", "-t", str(process.pid), "-D", images, "--ghost-limit"]
    assert "raise --ghost-limit" in refused(criu, 0, *where, limit, names=f"pid {process.pid}: fd 3")
    assert os.listdir(images) == []
    assert proc.status(process.pid)["TracerPid"] == "0"
    criu(*where, "1m")
    process.wait()
    criu("restore", "-d", "-S", "-D", images)
    end_restored(process.pid)


@pytest.mark.parametrize("limit", ["", "1T", "K", "-1", "1.5M", "0x10"])
def test_wrong_limit(criu: Criu, limit: str) -> None:
    refused(criu, 0, "dump", "-t", "1", "--ghost-limit", limit, names="--ghost-limit needs a number of bytes")


def test_no_room_for_a_ghost_image(criu: Criu, opens, images: str) -> None:  # type: ignore[no-untyped-def]
    process = opens("file", "r", "gone")
    with tmpfs(images, "64k"):
        line = refused(criu, 0, "dump", "-t", str(process.pid), "-D", images, names="ghost-file-1.img")
        assert "No space left on device" in line
        assert os.listdir(images) == []
    assert proc.status(process.pid)["TracerPid"] == "0"


def test_no_room_for_a_ghost(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    process = opens("file", "r", "gone")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    with tmpfs(place, "64k"):
        line = refused(criu, process.pid, "restore", "-d", "-D", images, names="ghost-file-1.img")
        assert "No space left on device" in line
        assert os.listdir(place) == []
    criu("restore", "-d", "-S", "-D", images)
    assert os.listdir(place) == []
    end_restored(process.pid)


def test_failed_restore_removes_names(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    """Also what was made of directories that are gone."""
    (place / "a").mkdir()
    process = opens("a/file", "r", "gone")
    (place / "a").rmdir()
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    os.mkfifo(place / "a")
    refused(criu, process.pid, "restore", "-d", "-D", images, names="place/a/file again")
    assert os.listdir(place) == ["a"]
    (place / "a").unlink()
    criu("restore", "-d", "-S", "-D", images)
    assert os.listdir(place) == []
    end_restored(process.pid)


def test_link_remap_of_a_failed_dump(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    process = opens("file", "r")
    os.link(place / "file", place / "kept")
    (place / "file").unlink()
    where = ["dump", "-t", str(process.pid), "-D", images]
    assert "use --link-remap" in refused(criu, 0, *where, names="has lost this name")
    with tmpfs(images, "4k"):
        refused(criu, 0, *where, "--link-remap", names="No space left on device")
    assert os.listdir(place) == ["kept"]
    criu(*where, "--link-remap", "--leave-running")
    assert os.listdir(place) == ["kept"]
    criu(*where, "--link-remap")
    process.wait()
    assert sorted(os.listdir(place)) == ["kept", "link_remap.1"]


def test_link_remap_waits_for_a_restore(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    """That succeeds; a second one has nothing to find."""
    process = opens("file", "r")
    os.link(place / "file", place / "kept")
    (place / "file").unlink()
    criu("dump", "-t", str(process.pid), "-D", images, "--link-remap")
    process.wait()
    shorter(place / "kept")
    refused(criu, process.pid, "restore", "-d", "-D", images, names=f"has {SIZE - 1} bytes")
    assert sorted(os.listdir(place)) == ["kept", "link_remap.1"]
    other(place / "kept")
    criu("restore", "-d", "-S", "-D", images, "--file-validation", "filesize")
    assert os.listdir(place) == ["kept"]
    end_restored(process.pid)
    assert "link the file to that name again" in refused(
        criu, process.pid, "restore", "-d", "-D", images, names="link_remap.1"
    )
    assert os.listdir(place) == ["kept"]


def test_read_only_mount(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    """There nothing can be linked."""
    process = None
    with tmpfs(place, "1m"):
        process = opens("file", "r")
        os.link(place / "file", place / "kept")
        (place / "file").unlink()
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        where = ["dump", "-t", str(process.pid), "-D", images, "--link-remap"]
        assert "remount that writable first" in refused(criu, 0, *where, names="its mount is read-only")


def test_overmounted(criu: Criu, opens, images: str, place: Path) -> None:  # type: ignore[no-untyped-def]
    process = opens("file", "r")
    where = ["dump", "-t", str(process.pid), "-D", images]
    with tmpfs(place, "1m"):
        assert "a mount hides it" in refused(criu, 0, *where, names="place/file")
        (place / "file").write_bytes(b"x" * SIZE)
        assert "a mount hides it" in refused(criu, 0, *where, names="place/file")
    criu(*where)
    process.wait()


def test_silly_names() -> None:
    """What NFS calls what was deleted while it was open (fs/nfs/unlink.c): by the name, since there is no NFS here."""
    assert remap.is_silly("/dir/.nfs000000000012345600000007")
    for name in (".nfs0000000000123456", ".nfs00000000001234560000000g", "xnfs000000000012345600000007", ".nfs"):
        assert not remap.is_silly(f"/dir/{name}")
    assert not remap.is_silly("/.nfs000000000012345600000007/file")
