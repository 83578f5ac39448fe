"""Bad input: one line that names the object and the remedy, a non-zero status, and everything left as it was."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from engine.context import Schema
from engine.images.files import Images
from engine.kernel import proc
from zdtm.tests.tasks import Criu, finish

HEAD = 8  # bytes of the two magics; inventory.img has one


def entries(path: Path) -> list[int]:
    """The offsets at which the entries of an image begin, and its end."""
    data = path.read_bytes()
    at = 4 if path.name == "inventory.img" else HEAD
    out = [at]
    while at < len(data):
        at += 4 + struct.unpack_from("<I", data, at)[0]
        out.append(at)
    return out


def refused(criu: Criu, pid: int, *args: str, names: str) -> str:
    """Run criu; it must fail with one line that names the object, and leave no such task."""
    done = criu(*args, check=False)
    assert done.returncode == 1, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert re.match(r"Error \(engine/[\w/]+\.py:\d+\): ", lines[0])
    assert names in lines[0]
    if pid:
        assert not os.path.exists(f"/proc/{pid}")
    return lines[0]


@pytest.fixture
def parsed(images: str) -> list[Path]:
    """The images with entries, of a dump that is made by `dumped`."""
    return [Path(images)]


def with_entries(directory: str) -> list[Path]:
    return sorted(p for p in Path(directory).iterdir() if p.suffix == ".img" and not p.name.startswith("pages-"))


def test_truncated_at_every_entry(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """In the head, in each entry's length, and in its message; the command line is tried for one of each image."""
    from engine.errors import BadImage
    from engine.images.validate import validate_all

    schema = Schema()
    for path in with_entries(images):
        whole = path.read_bytes()
        cuts = {0, 3, HEAD - 3} | {at + part for at in entries(path)[:-1] for part in (2, 5)}
        for cut in sorted(c for c in cuts if c < len(whole)):
            path.write_bytes(whole[:cut])
            with pytest.raises(BadImage) as e:
                validate_all(Images.open(schema, images))
            assert e.value.name == path.name, (path.name, cut)
            assert e.value.offset <= cut
        refused(criu, dumped.pid, "restore", "-d", "-D", images, names=path.name)
        path.write_bytes(whole)
    criu("restore", "--plan", "-D", images)


def test_cut_between_entries(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """Whole entries are missing: every image is well-formed, but they no longer fit together."""
    for name in ("files.img", "pstree.img", f"core-{dumped.pid}.img", f"mm-{dumped.pid}.img", "inventory.img"):
        path = Path(images) / name
        whole = path.read_bytes()
        path.write_bytes(whole[: entries(path)[0]])
        refused(criu, dumped.pid, "restore", "-d", "-D", images, names=".img")
        path.write_bytes(whole)


def test_wrong_magic(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    for path in with_entries(images):
        whole = path.read_bytes()
        for at in (0, 4):
            if path.name == "inventory.img" and at:
                continue
            path.write_bytes(whole[:at] + b"\xde\xad\xbe\xef" + whole[at + 4 :])
            assert "magic" in refused(criu, dumped.pid, "restore", "-d", "-D", images, names=path.name)
        path.write_bytes(whole)


def test_missing_field(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    store = Images.open(Schema(), images)
    fields = {
        "CORE": (("mtype", lambda m: m), ("comm", lambda m: m.tc)),
        "MM": (("exe_file_id", lambda m: m), ("start", lambda m: m.vmas[0])),
    }
    for kind, what in fields.items():
        whole = Path(images, store.name(kind, dumped.pid)).read_bytes()
        for field, of in what:
            message = store.read_one(kind, dumped.pid)
            of(message).ClearField(field)
            raw = message.SerializePartialToString()
            Path(images, store.name(kind, dumped.pid)).write_bytes(whole[:HEAD] + struct.pack("<I", len(raw)) + raw)
            line = refused(criu, dumped.pid, "restore", "-d", "-D", images, names=store.name(kind, dumped.pid))
            assert field in line
            Path(images, store.name(kind, dumped.pid)).write_bytes(whole)


def test_huge_length(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    for path in with_entries(images):
        whole = path.read_bytes()
        at = entries(path)[0]
        if at == len(whole):
            continue
        path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
        refused(criu, dumped.pid, "restore", "-d", "-D", images, names=path.name)
        path.write_bytes(whole)


def test_garbage_behind_the_last_entry(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    path = Path(images) / "pstree.img"
    path.write_bytes(path.read_bytes() + b"abc")
    refused(criu, dumped.pid, "restore", "-d", "-D", images, names="pstree.img")


@pytest.mark.parametrize("name", ["pages-1.img", "core-{}.img", "mm-{}.img", "fs-{}.img", "files.img", "fdinfo-2.img"])
def test_missing_image(criu: Criu, dumped, images: str, name: str) -> None:  # type: ignore[no-untyped-def]
    name = name.format(dumped.pid)
    (Path(images) / name).unlink()
    refused(criu, dumped.pid, "restore", "-d", "-D", images, names=name)


@pytest.mark.parametrize("change", [-4096, -1, 4096])
def test_pages_image_of_another_size(criu: Criu, dumped, images: str, change: int) -> None:  # type: ignore[no-untyped-def]
    path = Path(images) / "pages-1.img"
    os.truncate(path, path.stat().st_size + change)
    refused(criu, dumped.pid, "restore", "-d", "-D", images, names="pages-1.img")


def test_empty_directory(criu: Criu, images: str) -> None:
    assert "inventory.img" in refused(criu, 0, "restore", "-d", "-D", images, names="inventory.img")


def test_directory_that_is_not_there(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    refused(criu, 0, "restore", "-d", "-D", images + "/none", names=images + "/none")
    refused(criu, 0, "dump", "-t", str(quiet.pid), "-D", images + "/none", names=images + "/none")
    finish(quiet)


def test_images_of_two_dumps_mixed(criu: Criu, dumped, c_program, start, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Somebody else's images: the tree is of another task than the rest."""
    other = start(c_program("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n", name="other"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    criu("dump", "-t", str(other.pid), "-D", str(theirs))
    other.wait()
    shutil.copy(theirs / "pstree.img", images)
    refused(criu, dumped.pid, "restore", "-d", "-D", images, names=f"{other.pid}.img")
    assert not os.path.exists(f"/proc/{other.pid}")


def test_directory_of_other_files(criu: Criu, images: str) -> None:
    for name, data in (("inventory.img", b"not an image at all"), ("notes.txt", b"hello")):
        (Path(images) / name).write_bytes(data)
    refused(criu, 0, "restore", "-d", "-D", images, names="inventory.img")


def test_pid_that_does_not_exist(criu: Criu, images: str) -> None:
    refused(criu, 0, "dump", "-t", "4194300", "-D", images, names="pid 4194300 does not exist")
    assert os.listdir(images) == []


def test_kernel_thread(criu: Criu, images: str) -> None:
    thread = next(int(p) for p in os.listdir("/proc") if p.isdigit() and proc.Stat(int(p)).is_kernel_thread)
    refused(criu, 0, "dump", "-t", str(thread), "-D", images, names="is a kernel thread")


def test_zombie(criu: Criu, images: str) -> None:
    dead = subprocess.Popen(["true"])
    while proc.Stat(dead.pid).state != "Z":
        pass
    line = refused(criu, 0, "dump", "-t", str(dead.pid), "-D", images, names=f"pid {dead.pid}: is a zombie")
    assert "preflight: " in line
    dead.wait()


def test_ancestor_of_the_engine(criu: Criu, images: str) -> None:
    line = refused(criu, 0, "dump", "-t", str(os.getpid()), "-D", images, "-j", names=f"pid {os.getpid()}")
    assert "ancestor" in line


def test_directory_that_cannot_be_written(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", images], check=True)
    try:
        line = refused(criu, 0, "dump", "-t", str(quiet.pid), "-D", images, names=".img")
        assert "Read-only file system" in line
    finally:
        subprocess.run(["umount", images], check=True)
    finish(quiet)


@pytest.mark.parametrize("size", ["4k", "16k", "64k", "100k", "112k", "128k"])
@pytest.mark.parametrize("leave", [["-R"], []])
def test_full_disk(criu: Criu, quiet, images: str, size: str, leave: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Wherever in the dump the space ends: the task runs on, and no image is left."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", images], check=True)
    try:
        before = proc.read_text(f"/proc/{quiet.pid}/maps")
        line = refused(criu, 0, "dump", "-t", str(quiet.pid), "-D", images, *leave, names="No space left on device")
        assert ".img" in line or "stats-dump" in line
        assert os.listdir(images) == []
        assert proc.read_text(f"/proc/{quiet.pid}/maps") == before
        assert proc.status(quiet.pid)["TracerPid"] == "0"
    finally:
        subprocess.run(["umount", images], check=True)
    finish(quiet)


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["dump", "-t", "1", "--no-such-option"], "--no-such-option"),
        (["dump", "-t", "1", "-Q"], "-Q"),
        (["dump"], "--tree"),
        (["dump", "-t", "0"], "--tree"),
        (["dump", "-t", "x"], "'x'"),
        (["dump", "-t"], "needs a value"),
        (["dump", "-t", "1", "-R", "-s"], "--leave-running and --leave-stopped"),
        (["dump", "-t", "1", "-d"], "--restore-detached"),
        (["dump", "-t", "1", "--pidfile", "x"], "--pidfile"),
        (["dump", "-t", "1", "extra"], "'extra'"),
        (["restore", "-R"], "--leave-running"),
        (["restore", "-S"], "--restore-sibling needs --restore-detached"),
        (["restore", "--lazy-pages"], "--lazy-pages"),
        (["restore", "--config", "x"], "--config is not supported yet"),
        (["dump", "-t", "1", "--file-validation", "size"], "--file-validation size: unknown; one of"),
        (["restore", "--timeout", "0"], "--timeout"),
        (["frobnicate"], "frobnicate"),
        ([], "no command"),
        (["restore", "--image"], "--image"),
        (["dump", "--leave-running=1", "-t", "1"], "takes no value"),
    ],
)
def test_options(criu: Criu, args: list[str], names: str) -> None:
    if names == "--image":  # an abbreviation that is not ambiguous: the option without its value
        names = "--images-dir needs a value"
    refused(criu, 0, *args, names=names)


def test_unwritable_log_file(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    (Path(images) / "dump.log").mkdir()
    refused(criu, 0, "dump", "-t", str(quiet.pid), "-D", images, "-o", "dump.log", names="dump.log")
    finish(quiet)
