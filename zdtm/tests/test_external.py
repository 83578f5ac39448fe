"""External resources: what --external leaves to the restore, and what --inherit-fd gives it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import externals
from engine.errors import BadOption
from engine.kernel import proc
from zdtm.tests.tasks import Criu, empty, end_restored, refused

Task = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old contents")
    return path


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """A descriptor of another file."""
    (tmp_path / "other").write_bytes(b"new")
    fd = os.open(tmp_path / "other", os.O_RDWR)
    yield fd
    os.close(fd)


def dump(criu: Criu, process: subprocess.Popen[bytes], images: str, *options: str) -> int:
    criu("dump", "-t", str(process.pid), "-D", images, *options)
    process.wait()
    return process.pid


def restore(criu: Criu, images: str, fd: int, key: str) -> str:
    """Its complaints."""
    args = ("-d", "--restore-sibling", "-D", images, "--inherit-fd", f"fd[{fd}]:{key}")
    return criu("restore", *args, pass_fds=(fd,)).stderr


def key_of(pid: int) -> str:
    return f"file[{int(proc.fdinfo(pid, 3)['mnt_id']):x}:{os.stat(f'/proc/{pid}/fd/3').st_ino:x}]"


def link(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/fd/3")


def test_file(criu: Criu, task: Task, images: str, file: Path, other: int) -> None:
    """It need not be there any more; flags and offset are those of the dump."""
    process = task(str(file), str(os.O_RDWR | os.O_APPEND))
    key = key_of(process.pid)
    pid = dump(criu, process, images, "--external", key)
    file.unlink()
    assert f"--inherit-fd fd[N]:{key}" in refused(criu, "restore", "-d", "-D", images)
    assert restore(criu, images, other, key) == ""
    assert link(pid).endswith("/other")
    assert int(proc.fdinfo(pid, 3)["flags"], 8) & (os.O_ACCMODE | os.O_APPEND) == os.O_RDWR | os.O_APPEND
    end_restored(pid)


def test_file_by_path(criu: Criu, task: Task, images: str, file: Path, other: int) -> None:
    """What was dumped as any file can be given too; what nobody wants is said."""
    pid = dump(criu, task(str(file)), images)
    assert "fd[" in restore(criu, images, other, "no/such/file")
    assert link(pid) == str(file)
    end_restored(pid)
    assert restore(criu, images, other, str(file)[1:]) == ""
    assert link(pid).endswith("/other")
    end_restored(pid)


def test_memfd(criu: Criu, task: Task, images: str) -> None:
    pid = dump(criu, task("memfd"), images)
    fd = os.memfd_create("mine")
    assert restore(criu, images, fd, "memfd:shared") == ""
    assert os.stat(f"/proc/{pid}/fd/3").st_ino == os.fstat(fd).st_ino
    os.close(fd)
    end_restored(pid)


@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY])
def test_pipe(criu: Criu, task: Task, images: str, mode: int) -> None:
    """As container runtimes do it: the other end is the caller's, before and afterwards."""
    ends = os.pipe()
    index = 0 if mode == os.O_RDONLY else 1
    process = task(f"/proc/{os.getpid()}/fd/{ends[index]}", str(mode))
    key = link(process.pid)
    pid = dump(criu, process, images)
    for fd in ends:
        os.close(fd)
    ends = os.pipe()
    assert restore(criu, images, ends[index], key) == ""
    os.close(ends[index])
    assert link(pid) == os.readlink(f"/proc/self/fd/{ends[1 - index]}")
    assert int(proc.fdinfo(pid, 3)["flags"], 8) & os.O_ACCMODE == mode
    end_restored(pid)
    if mode == os.O_WRONLY:  # nobody else has kept an end open
        assert os.read(ends[0], 1) == b""
    os.close(ends[1 - index])


def test_fifo(criu: Criu, task: Task, images: str, tmp_path: Path) -> None:
    """One end is outside: refused, unless it is external. Whoever is given one does not wait for it to be opened."""
    os.mkfifo(tmp_path / "fifo")
    mine = os.open(tmp_path / "fifo", os.O_RDWR)
    process = task(str(tmp_path / "fifo"), str(os.O_WRONLY))
    both = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.close(mine)
    line = refused(criu, "dump", "-t", str(process.pid), "-D", images)
    key = key_of(process.pid)
    assert f"its reading end is held by pid {os.getpid()} (" in line and f"--external {key}" in line
    assert not os.listdir(images)
    pid = dump(criu, process, images, "--external", key)
    os.close(both)
    os.mkfifo(tmp_path / "another")
    given = os.open(tmp_path / "another", os.O_RDWR)
    assert restore(criu, images, given, key) == ""
    assert link(pid).endswith("/another") and int(proc.fdinfo(pid, 3)["flags"], 8) & 0o7777 == os.O_WRONLY
    os.close(given)
    end_restored(pid)
    empty(images)


def test_device(criu: Criu, task: Task, images: str) -> None:
    pid = dump(criu, task("/dev/null", str(os.O_RDWR)), images, "--external", "dev[1/3]:sink")
    line = refused(criu, "restore", "-d", "-D", images)
    assert "--external dev[sink]:PATH" in line
    criu("restore", "-d", "--restore-sibling", "-D", images, "--external", "dev[sink]:/dev/zero")
    assert link(pid) == "/dev/zero" and int(proc.fdinfo(pid, 3)["flags"], 8) & os.O_ACCMODE == os.O_RDWR
    end_restored(pid)


def test_wrong_kind(criu: Criu, task: Task, images: str, file: Path) -> None:
    """A pipe for a file, or a directory: said before there is any process."""
    pid = dump(criu, task(str(file)), images)
    reader, writer = os.pipe()
    directory = os.open(images, os.O_RDONLY)
    for fd, what in ((reader, "a pipe or FIFO"), (directory, "a directory")):
        key = f"fd[{fd}]:{str(file)[1:]}"
        line = refused(criu, "restore", "-d", "-D", images, "--inherit-fd", key, pass_fds=(fd,))
        assert f"--inherit-fd {key}: that is {what}, and not a regular file" in line
    assert not os.path.exists(f"/proc/{pid}")
    for fd in (directory, reader, writer):
        os.close(fd)


def test_closed(criu: Criu, images: str) -> None:
    """Said before anything is read: nothing that the engine opens itself is mistaken for it."""
    Path(images, "restore.log").write_text("before")
    line = refused(criu, "restore", "-d", "-D", images, "-o", "restore.log", "--inherit-fd", "fd[3]:pipe:[1]")
    assert "--inherit-fd fd[3]:pipe:[1]: descriptor 3 is not open" in line
    assert Path(images, "restore.log").read_text() == "before"


@pytest.mark.parametrize(
    "word",
    [
        "",
        "file",
        "file[]",
        "file[12]",
        "file[x:1]",
        "file[1:2",
        "file[0x1:2]",
        "unix[abc]",
        "what[1]",
        "dev[]:x",
        "veth[a]x",
    ],
)
def test_malformed(word: str) -> None:
    with pytest.raises(BadOption, match=r"it is one of mnt\[PATH\]:NAME, dev\[MAJOR/MINOR\]:NAME, file\["):
        externals.parse([word])


@pytest.mark.parametrize("word", ["", "3:x", "fd[]:x", "fd[3]", "fd[3]:", "fd[-1]:x", "fd[a]:x", "fd[99999999]:x"])
def test_malformed_inherited(word: str) -> None:
    with pytest.raises(BadOption, match=r"it is fd\[NUMBER\]:KEY|is not open"):
        externals.parse_inherited([word])


def test_parsed() -> None:
    """Those of other kinds are kept for who restores them."""
    words = ["mnt[/a]b]:one", "mnt[]:ms"]
    words += ["veth[eth0]:v1@br0", "net[4026531]:n", "file[1b:2c]", "pipe:[5]", "tty[8801:5]"]
    assert externals.parse(words) == {
        "mnt": {"/a]b": "one", "": "ms"},
        "veth": {"eth0": "v1@br0"},
        "net": {"4026531": "n"},
        "file": {"1b:2c": ""},
        "pipe:": {"5": ""},
        "tty": {"8801:5": ""},
    }
    with pytest.raises(BadOption, match="given twice"):
        externals.parse(["net[1]:a", "net[1]:b"])
    assert externals.parse_inherited(["fd[0]:/a/b", "fd[1]:/memfd:x (deleted)"]) == {"a/b": 0, "memfd:x": 1}
    with pytest.raises(BadOption, match="given twice"):
        externals.parse_inherited(["fd[0]:a", "fd[1]:/a"])
