"""What the tests of the engine's commands share: running criu, a task that notices disturbances, its images."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.kernel import memory, proc

PROGRAMS = Path(__file__).parent / "programs"
Criu = Callable[..., subprocess.CompletedProcess[str]]
SLOW = {
    *("argparse", "collections", "contextlib", "dataclasses", "enum", "functools", "json", "pathlib", "re", "signal"),
    *("subprocess", "traceback", "typing", "uuid"),
}


@pytest.fixture
def criu(engine_criu: Path, tmp_path: Path) -> Criu:
    """Runs our criu in tmp_path; output captured."""

    def run(*args: str, check: bool = True, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [engine_criu, *args]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, pass_fds=pass_fds)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def images(tmp_path: Path) -> str:
    (tmp_path / "images").mkdir()
    return str(tmp_path / "images")


@pytest.fixture
def quiet(c_program, start):  # type: ignore[no-untyped-def]
    """A task that can tell whether it was disturbed; ready, and asleep."""
    process = start(c_program(PROGRAMS / "quiet.c"))
    wait(lambda: process.log.read_bytes() == b"ready\n" and proc.Stat(process.pid).state == "S")
    return process


@pytest.fixture
def task(c_program, start) -> Callable[..., subprocess.Popen[bytes]]:  # type: ignore[no-untyped-def]
    """A task that has opened something (programs/holds.c)."""

    def run(*args: str) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = start(c_program(PROGRAMS / "holds.c"), *args)
        wait(lambda: process.log.read_bytes() == b"ready\n")  # type: ignore[attr-defined]
        return process

    return run


def imported(engine_criu: Path, *args: str) -> list[str]:
    """What the interpreter imports to run a command, beyond what it has by itself; nothing of that is slow."""
    code = "import sys; bare = set(sys.modules); from engine.cli import main; r = main(sys.argv[1:]);"
    code += "print(*sorted(set(sys.modules) - bare)); sys.exit(r)"
    command = [engine_criu.with_name("python3"), "-c", code, *args]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not SLOW & set(names)
    return names


def refused(criu: Criu, *args: str, pass_fds: tuple[int, ...] = ()) -> str:
    """The one line that says why."""
    done = criu(*args, check=False, pass_fds=pass_fds)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def empty(directory: str) -> None:
    """Remove all files of a directory."""
    for name in os.listdir(directory):
        Path(directory, name).unlink()


def wait(check: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.002)


def finish(process) -> None:  # type: ignore[no-untyped-def]
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0, process.log.read_text()


def present_pages(pid: int, path: str) -> list[int]:
    """The present pages of a mapping, by number."""
    vma = next(v for v in proc.smaps(pid) if v.path == path)
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(vma.start // memory.PAGE * 8)
        raw = f.read((vma.end - vma.start) // memory.PAGE * 8)
    return [i for i in range(len(raw) // 8) if raw[i * 8 + 7] & 0x80]


@pytest.fixture
def dumped(criu: Criu, quiet, images: str):  # type: ignore[no-untyped-def]
    """The quiet task, dumped into `images`, dead and reaped."""
    criu("dump", "-t", str(quiet.pid), "-D", images)
    quiet.wait()
    return quiet


def end_restored(pid: int) -> None:
    """SIGTERM a restored task that is our child; it must have found nothing changed."""
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0
