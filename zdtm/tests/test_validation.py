"""--file-validation: what is kept of files, and that a file which has changed since the dump is refused by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.context import Schema
from engine.errors import EngineError
from engine.files.links import Links
from engine.files.validation import EVERY, FIRST, WHOLE, Validation
from engine.images.files import Images
from engine.images.schema import text
from engine.kernel import files, proc
from engine.kernel.checksum import crc32c
from engine.log import Log
from engine.options import Options
from zdtm.tests.tasks import Criu, end_restored, wait

SIZE = 5000
SOURCE = """
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void end(int sig)
{
	_exit(sig != SIGTERM);
}

int main(void)
{
	int log = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600), written = open("written", O_RDWR | O_CREAT, 0600);
	int shared = open("shared", O_RDWR);

	signal(SIGTERM, end);
	open("data", O_RDONLY);
	lseek(open("data", O_RDONLY), 1, SEEK_SET);
	open("written", O_RDONLY);
	mmap(NULL, 4096, PROT_READ, MAP_SHARED, shared, 0);
	close(shared);
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open("mapped", O_RDONLY), 0);
	if (write(log, "0123", 4) != 4 || write(written, "0123", 4) != 4)
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
"""


def castagnoli(data: bytes) -> int:
    """Bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def task(c_program, start, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Has `data` open twice and `mapped` mapped, writes to `log`, `written` and `shared`; its program is `.program`."""
    for name in ("data", "mapped", "shared"):
        (tmp_path / name).write_bytes(bytes(i * 7 % 251 for i in range(SIZE)))
    program = c_program(SOURCE, "-Wl,--build-id=sha1")
    process = start(program)
    process.program = program
    wait(lambda: process.log.read_bytes() == b"ready\n")
    return process


def entries(images: str) -> dict[str, list[Any]]:
    """Every reg_file_entry, by the file's name."""
    out: dict[str, list[Any]] = {}
    for entry in Images.open(Schema(), images).read("FILES"):
        if entry.HasField("reg"):
            out.setdefault(Path(text(entry.reg.name)).name, []).append(entry.reg)
    return out


def overwrite(path: Path, at: int, data: bytes) -> None:
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def build_id(program: Path) -> bytes:
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    return bytes.fromhex(notes.split("Build ID:")[1].split()[0])


@pytest.mark.parametrize("table", [False, True], ids=["instruction", "table"])
def test_crc32c(tmp_path: Path, table: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123456789")
    with open(path, "rb") as f:
        assert crc32c(f.fileno(), "file", table=table) == 0xE3069283  # the check value of the CRC's catalogues
    data = os.urandom(200_001)
    path.write_bytes(data)
    with open(path, "rb") as f:
        assert crc32c(f.fileno(), "file", table=table) == castagnoli(data)
        assert crc32c(f.fileno(), "file", 1, table=table) == castagnoli(data[:1])
        assert crc32c(f.fileno(), "file", 65_537, table=table) == castagnoli(data[:65_537])
        for period in (2, 7, 1000, 4095, 4096, 65_536, 70_000, 300_000):
            assert crc32c(f.fileno(), "file", 0, period, table) == castagnoli(data[::period]), period
    path.write_bytes(b"")
    with open(path, "rb") as f:
        assert crc32c(f.fileno(), "file", table=table) == 0


METHODS = [
    ("buildid", [], FIRST, 1024, slice(0, 1024)),
    ("checksum", [], FIRST, 1024, slice(0, 1024)),
    ("checksum", ["--checksum-parameter", "100"], FIRST, 100, slice(0, 100)),
    ("checksum-period", ["--checksum-parameter", "3"], EVERY, 3, slice(0, None, 3)),
    ("checksum-full", [], WHOLE, 0, slice(0, None)),
]


@pytest.mark.parametrize(("method", "more", "config", "parameter", "covered"), METHODS)
def test_what_is_kept(  # type: ignore[no-untyped-def]
    criu: Criu, task, images: str, tmp_path: Path, method: str, more: list[str], config: int, parameter: int, covered
) -> None:
    criu("dump", "-R", "-t", str(task.pid), "-D", images, "--file-validation", method, *more)
    kept = entries(images)
    data = (tmp_path / "data").read_bytes()[covered]
    assert [len(kept[name]) for name in ("data", "mapped")] == [2, 2]
    for reg in kept["data"] + kept["mapped"]:
        assert reg.size == SIZE and not reg.build_id
        assert (reg.checksum, reg.checksum_config, reg.checksum_parameter) == (castagnoli(data), config, parameter)
    # what the tree itself may write to: not unasked
    assert [reg.size for reg in kept["written"]] == [4, 4] and [reg.size for reg in kept["shared"]] == [SIZE]
    assert {reg.HasField("checksum") for reg in kept["written"] + kept["shared"]} == {method != "buildid"}
    for reg in (*kept["log"], *kept["null"]):  # may grow; no file
        assert not reg.HasField("size") and not reg.HasField("checksum")
    (program,) = kept[task.program.name]
    assert program.size == task.program.stat().st_size
    assert program.HasField("checksum") == (method != "buildid")
    assert b"".join(word.to_bytes(4, "little") for word in program.build_id) == (
        build_id(task.program) if method == "buildid" else b""
    )


def test_size_only(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-R", "-t", str(task.pid), "-D", images, "--file-validation", "filesize")
    kept = [reg for regs in entries(images).values() for reg in regs]
    assert sum(reg.HasField("size") for reg in kept) >= 7
    assert not any(reg.build_id or reg.HasField("checksum") for reg in kept)


def refused(criu: Criu, images: str, *words: str) -> None:
    done = criu("restore", "-d", "-S", "-D", images, check=False)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr


def accepted(criu: Criu, images: str, pid: int, *options: str) -> None:
    criu("restore", "-d", "-S", "-D", images, *options)
    end_restored(pid)


# method, options, where `data` is changed without being seen, and where it is
CHANGES = [
    ("filesize", [], 0, None),
    ("buildid", [], 1024, 1023),
    ("checksum", ["--checksum-parameter", "100"], 100, 99),
    ("checksum-period", ["--checksum-parameter", "1000"], 1001, 4000),
    ("checksum-full", [], None, SIZE - 1),
]


@pytest.mark.parametrize(("method", "more", "unseen", "seen"), CHANGES, ids=[c[0] for c in CHANGES])
def test_changed_contents(  # type: ignore[no-untyped-def]
    criu: Criu, task, images: str, tmp_path: Path, method: str, more: list[str], unseen: int | None, seen: int | None
) -> None:
    """Of `mapped`, which no task has open for writing, and of `data`; `log` may grow."""
    criu("dump", "-t", str(task.pid), "-D", images, "--file-validation", method, *more)
    task.wait()
    with open(tmp_path / "log", "ab") as f:
        f.write(b"more")
    if seen is not None:
        for name in ("mapped", "data"):
            path = tmp_path / name
            before = path.read_bytes()
            overwrite(path, seen, b"\xff")
            refused(criu, images, f"{path} has changed since the dump", "CRC32C", "put the old file back")
            overwrite(path, 0, before)
    if unseen is not None:
        overwrite(tmp_path / "data", unseen, b"\xff")
    if method == "buildid":  # of which the tree may have been the one to write
        overwrite(tmp_path / "shared", 0, b"\xff")
        overwrite(tmp_path / "written", 0, b"\xff")
    with open(tmp_path / "mapped", "ab") as f:
        f.write(b"\0")
    refused(criu, images, f"{tmp_path / 'mapped'} has {SIZE + 1} bytes, but had {SIZE} when it was dumped")
    os.truncate(tmp_path / "mapped", SIZE)
    accepted(criu, images, task.pid)


def test_another_build(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-t", str(task.pid), "-D", images)
    task.wait()
    old = task.program.read_bytes()
    ident = build_id(task.program)
    new = bytes(20)
    overwrite(task.program, old.index(ident), new)
    refused(criu, images, f"{task.program} is another build than the dumped one", new.hex(), ident.hex())
    overwrite(task.program, 0, b"\0")  # no ELF file any more
    refused(criu, images, f"{task.program} is another build than the dumped one", "it has no build-id", ident.hex())
    overwrite(task.program, 0, old)
    overwrite(task.program, old.index(ident), new)
    accepted(criu, images, task.pid, "--file-validation", "filesize")


def test_executable_is_checked_by_checksum(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-t", str(task.pid), "-D", images, "--file-validation", "checksum-full")
    task.wait()
    overwrite(task.program, task.program.stat().st_size - 1, b"\xff")
    refused(criu, images, f"{task.program} has changed since the dump", "contents")


def test_unknown_checksum(criu: Criu, task, images: str) -> None:  # type: ignore[no-untyped-def]
    """Of a method that a later version may have: refused, unless size is to be enough."""
    criu("dump", "-t", str(task.pid), "-D", images)
    task.wait()
    folder = Images.open(Schema(), images)
    files = folder.read("FILES")
    for entry in files:
        if entry.HasField("reg") and text(entry.reg.name).endswith("/mapped"):
            entry.reg.checksum_config = 9
    folder.write("FILES", (), files)
    refused(criu, images, "files.img", "checksum_config 9", "mapped")
    accepted(criu, images, task.pid, "--file-validation", "filesize")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--file-validation", "md5"], "--file-validation md5: unknown; one of buildid, filesize, checksum-full"),
        (["--checksum-parameter", "5"], "--checksum-parameter needs --file-validation checksum or checksum-period"),
        (["--file-validation", "checksum", "--checksum-parameter", "0"], "from 1 to 4294967295"),
        (["--file-validation", "checksum", "--checksum-parameter", "4294967296"], "from 1 to 4294967295"),
    ],
)
def test_bad_options(criu: Criu, images: str, options: list[str], complaint: str) -> None:
    done = criu("dump", "-t", "1", "-D", images, *options, check=False)
    assert done.returncode == 1 and complaint in done.stderr


class Reading:
    """What a Validation has opened, by path, and what it has said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, tmp_path: Path) -> None:
        self.opened: list[str] = []
        self._log = tmp_path / "validation.log"
        options = Options()
        options.file_validation = method
        self.validation = Validation(options, Log(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)))
        original, build_id = os.open, files.build_id

        def opening(path: str, *rest: Any, **how: Any) -> int:
            if path != "/proc/locks":  # asked once, for all files
                self.opened.append(path)
            return original(path, *rest, **how)

        def reading(name: str, at: int | None = None) -> list[int]:
            self.opened.append(name)
            return build_id(name, at)

        monkeypatch.setattr(os, "open", opening)
        monkeypatch.setattr(files, "build_id", reading)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def dump(self, path: Path, flags: int = os.O_RDONLY) -> Any:
        entry = Schema().message("file_entry")()
        entry.reg.flags = flags
        entry.reg.name = str(path).encode() if isinstance(entry.reg.name, bytes) else str(path)
        self.validation.dump(entry.reg, str(path), str(path), path.stat())
        self.validation.settle()
        return entry.reg


@pytest.mark.parametrize("method", ["buildid", "checksum-full", "filesize"])
def test_each_file_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str) -> None:
    """However many descriptors and mappings lead to it: the start-up budget of a dump."""
    path = tmp_path / "file"
    path.write_bytes(b"contents" * 8)  # as many as an ELF file has at least
    reading = Reading(monkeypatch, method, tmp_path)
    first = [reading.dump(path) for _ in range(5)]
    assert len(set(map(str, first))) == 1
    # a file without a build-id is opened again for its checksum
    assert len(reading.opened) == {"buildid": 2, "checksum-full": 1, "filesize": 0}[method]
    libc = next(Path(line.split()[-1]) for line in proc.read_text("/proc/self/maps").splitlines() if "libc.so" in line)
    reading.opened.clear()
    for _ in range(5):
        assert bool(reading.dump(libc).build_id) == (method == "buildid")
    assert len(reading.opened) == (method != "filesize")


@pytest.mark.parametrize("method", ["buildid", "checksum-full"])
def test_unreadable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str) -> None:
    """To an engine without CAP_DAC_OVERRIDE: only the size is kept, with a warning; at restore, a remedy is named."""
    if os.geteuid():
        pytest.skip("needs root, to be somebody else")
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    reading = Reading(monkeypatch, method, tmp_path)
    readable = reading.dump(path)
    other = Reading(monkeypatch, method, tmp_path)
    fd = os.open(path, os.O_WRONLY)
    path.chmod(0o200)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o711)
    os.seteuid(65534)
    try:
        unreadable = other.dump(path)
        with pytest.raises(
            EngineError, match=r"file cannot be compared .* Permission denied; make it readable, or use"
        ):
            other.validation.compare(readable, fd, Links())
    finally:
        os.seteuid(0)
        os.close(fd)
    assert unreadable.size == 8 and not unreadable.HasField("checksum")
    assert f"{path}: cannot be read (Permission denied): only its size" in other.log
    assert readable.HasField("checksum")


def test_contents_do_not_make_an_idle_dump_slower(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    """An idle dump by the default method does not even load what makes checksums."""
    python = Path(criu("--version").args[0]).with_name("python3")
    code = "import sys; from engine.cli import main; r = main(sys.argv[1:]); print(*sys.modules); sys.exit(r)"
    command = [python, "-c", code, "dump", "-R", "-t", str(quiet.pid), "-D", images]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "engine.files.validation" in names and "engine.kernel.checksum" not in names


@pytest.mark.parametrize("method", ["buildid", "checksum-full"])
def test_peer_accepts_ours(criu: Criu, peer_criu: Path, task, images: str, method: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-t", str(task.pid), "-D", images, "--file-validation", method)
    task.wait()
    done = subprocess.run([peer_criu, "restore", "-d", "-S", "-D", images, "-o", "restore.log"], timeout=30)
    assert done.returncode == 0, (Path(images) / "restore.log").read_text()
    end_restored(task.pid)


@pytest.mark.parametrize("method", ["buildid", "filesize"])
def test_we_verify_the_peers(criu: Criu, peer_criu: Path, task, images: str, tmp_path: Path, method: str) -> None:  # type: ignore[no-untyped-def]
    """The same fields, and a changed file is refused by what they say."""
    criu("dump", "-R", "-t", str(task.pid), "-D", images, "--file-validation", method)
    ours = entries(images)
    args = ["-t", str(task.pid), "-D", images, "-o", "dump.log", "--file-validation", method]
    subprocess.run([peer_criu, "dump", *args], check=True, timeout=30)
    task.wait()
    theirs = entries(images)
    for name, regs in ours.items():
        pairs = zip(regs, theirs[name], strict=True)
        assert all(
            (a.HasField("size"), a.size, *a.build_id) == (b.HasField("size"), b.size, *b.build_id) for a, b in pairs
        )
    old = task.program.read_bytes()
    overwrite(task.program, old.index(build_id(task.program)), bytes(20))
    if method == "buildid":
        refused(criu, images, f"{task.program} is another build than the dumped one")
        overwrite(task.program, 0, old)
    os.truncate(tmp_path / "data", 10)
    refused(criu, images, f"{tmp_path / 'data'} has 10 bytes, but had {SIZE}")
    os.truncate(tmp_path / "data", SIZE)
    accepted(criu, images, task.pid)
