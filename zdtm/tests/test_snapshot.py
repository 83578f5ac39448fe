"""`dump --leave-running` of tasks that are cloned: their memory is of one instant, and nothing is left in them."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from engine.kernel import proc
from zdtm.tests.killing import KILLED, children, duration, reaper, run_and_kill, strays
from zdtm.tests.tasks import PROGRAMS, Criu, finish, wait

__all__ = ["reaper"]
pytestmark = pytest.mark.usefixtures("reaper")

KILLS = int(os.environ.get("KILLS", "40"))
CLONED = "its memory is copied later, from its clone"
Begin = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def begin(c_program, start) -> Begin:  # type: ignore[no-untyped-def]
    """Starts programs/snapshot.c in a mode; it has come to rest, if it does."""

    def run(mode: str) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = start(c_program(PROGRAMS / "snapshot.c", "-O1", "-pthread"), mode)
        wait(lambda: b"ready" in log(process))
        if mode not in ("write", "fickle"):
            wait(lambda: proc.Stat(process.pid).state == "S")
        return process

    return run


def log(process: subprocess.Popen[bytes]) -> bytes:
    return process.log.read_bytes()  # type: ignore[attr-defined,no-any-return]


def live(criu: Criu, pid: int, images: str, *more: str) -> str:
    """A live dump; returns its log."""
    criu("dump", "-R", "-v4", "-o", "dump.log", "-t", str(pid), "-D", images, *more)
    return (Path(images) / "dump.log").read_text()


def kids(pid: int) -> dict[int, list[int]]:
    out = {pid: proc.children(pid)}
    for kid in out[pid]:
        with suppress(FileNotFoundError, ProcessLookupError):  # a clone that is about to go
            out |= kids(kid)
    return out


def contents(images: str) -> dict[str, bytes]:
    return {name: (Path(images) / name).read_bytes() for name in os.listdir(images) if name.startswith("page")}


def test_memory_of_a_tree_is_of_one_instant(criu: Criu, begin: Begin, images: str) -> None:
    process = begin("write")
    before = kids(process.pid)
    for _ in range(5):
        assert live(criu, process.pid, images).count(CLONED) == 2
        assert kids(process.pid) == before
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, log(process)
    criu("restore", "-d", "-S", "-s", "-D", images)
    os.kill(process.pid, signal.SIGTERM)  # before it goes on writing
    os.kill(process.pid, signal.SIGCONT)
    assert os.waitpid(process.pid, 0)[1] == 0, log(process)


@pytest.mark.parametrize("mode", ["wait", "threads"])
def test_who_waits_for_any_child_sees_no_clone(criu: Criu, begin: Begin, images: str, mode: str) -> None:
    process = begin(mode)
    before = kids(process.pid)
    for _ in range(8):
        assert CLONED in live(criu, process.pid, images)
        assert kids(process.pid) == before
        assert process.poll() is None, log(process)
    os.kill(before[process.pid][0], signal.SIGKILL)
    assert process.wait(5) == 0, log(process)


@pytest.mark.parametrize("mode", ["quiet", "filtered"])
def test_images_are_the_same_as_of_a_frozen_task(criu: Criu, begin: Begin, tmp_path: Path, mode: str) -> None:
    """Also what a child has not: MADV_DONTFORK and MADV_WIPEONFORK, partly PROT_NONE, among pages that it has."""
    process = begin(mode)
    os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})  # its number is in the memory (rseq(2))
    (tmp_path / "frozen").mkdir()
    (tmp_path / "live").mkdir()
    criu("dump", "-R", "-t", str(process.pid), "-D", str(tmp_path / "frozen"))  # private copies of touched pages
    assert CLONED not in live(criu, process.pid, str(tmp_path / "frozen"), "--no-snapshot")
    assert CLONED in live(criu, process.pid, str(tmp_path / "live"))
    assert contents(str(tmp_path / "live")) == contents(str(tmp_path / "frozen"))
    assert len(contents(str(tmp_path / "live"))["pages-1.img"]) > (4096 + 63) * 4096
    assert proc.children(process.pid) == []
    assert process.poll() is None


def test_mappings_that_change_before_the_freeze(criu: Criu, begin: Begin, images: str) -> None:
    """What the clone has not is noticed, and the dump begins again."""
    process = begin("fickle")
    again = 0
    for _ in range(12):
        again += "the dump begins again" in live(criu, process.pid, images)
        assert len(contents(images)["pages-1.img"]) > (4096 + 64) * 4096
        assert kids(process.pid) == {process.pid: []}
    assert again > 0
    assert process.poll() is None


def test_task_that_cannot_have_a_child_is_copied_in_time(criu: Criu, begin: Begin, images: str) -> None:
    process = begin("poor")
    text = live(criu, process.pid, images)
    assert "no clone" in text and CLONED not in text
    assert len(contents(images)["pages-1.img"]) > 4096 * 4096


def test_small_task_is_not_cloned(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    assert CLONED not in live(criu, quiet.pid, images)
    finish(quiet)


def test_full_disk_leaves_neither_images_nor_a_clone(engine_criu: Path, begin: Begin, images: str) -> None:
    process = begin("quiet")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    command = [str(engine_criu), "dump", "-R", "-t", str(process.pid), "-D", images]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1 and "pages-1.img" in done.stderr, done.stderr
    assert os.listdir(images) == []
    assert proc.children(process.pid) == [] and process.poll() is None


def test_task_that_ends_meanwhile(begin: Begin, engine_criu: Path, images: str) -> None:
    """Its clone has all that is needed, and goes with the dump."""
    process = begin("quiet")
    before = children()
    command = [str(engine_criu), "dump", "-R", "-v4", "-o", "dump.log", "-t", str(process.pid), "-D", images]
    with subprocess.Popen(command) as engine:
        text = Path(images) / "dump.log"
        wait(lambda: text.exists() and CLONED in text.read_text())
        engine.send_signal(signal.SIGSTOP)
        process.kill()
        assert process.wait(5) == -signal.SIGKILL
        engine.send_signal(signal.SIGCONT)
        assert engine.wait(10) == 0, text.read_text()
    assert len(contents(images)["pages-1.img"]) > 4096 * 4096
    wait(lambda: not strays(before))


def test_killed_engine_leaves_no_clone(begin: Begin, engine_criu: Path, images: str) -> None:
    process = begin("write")
    before = kids(process.pid)
    command = [str(engine_criu), "dump", "-R", "-t", str(process.pid), "-D", images]
    whole = min(duration(command) for _ in range(3))
    moments = random.Random(KILLS)
    killed = 0
    for _ in range(KILLS):
        delay = moments.uniform(0.3 * whole, 1.1 * whole)
        in_time = run_and_kill(command, delay) == KILLED
        killed += in_time
        wait(lambda: kids(process.pid) == before)
        assert process.poll() is None, f"after {delay} s of {whole}: {log(process)!r}"
        whole *= 1.005 if in_time else 0.95  # it follows how busy the machine is
    assert killed > KILLS // 3, "the kills came too late to show anything"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, log(process)


def test_dump_right_after_one_that_was_killed(begin: Begin, criu: Criu, engine_criu: Path, images: str) -> None:
    """What the first has left in the tasks is on its way out, or the janitor is there, when the second begins."""
    process = begin("write")
    before = kids(process.pid)
    command = [str(engine_criu), "dump", "-R", "-t", str(process.pid), "-D", images]
    whole = min(duration(command) for _ in range(3))
    moments = random.Random(KILLS)
    for _ in range(KILLS):
        in_time = run_and_kill(command, moments.uniform(0.3 * whole, 1.1 * whole)) == KILLED
        done = criu("dump", "-R", "-t", str(process.pid), "-D", images, check=False)
        assert not done.returncode or "Error" in done.stderr
        wait(lambda: kids(process.pid) == before)
        assert process.poll() is None, log(process)
        whole *= 1.005 if in_time else 0.95
    live(criu, process.pid, images)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, log(process)


def test_engine_killed_between_any_two_lines_leaves_no_clone(begin: Begin, engine_criu: Path, images: str) -> None:
    """The worst moments, hit on purpose: all that is done with a clone is in two modules."""
    process = begin("quiet")
    before = kids(process.pid)
    code = """
import os, signal, sys, time
from engine import cli
at = int(sys.argv.pop(1))
def step(frame, event, arg):
    global at
    if event == "line":
        at -= 1
        if at < 0 and os.getpid() == engine:
            time.sleep(0.001 * (at % 3))
            os.kill(engine, signal.SIGKILL)
    return step
engine = os.getpid()
names = ("memory/snapshot.py", "tasks/reap.py")
sys.settrace(lambda frame, event, arg: step if frame.f_code.co_filename.endswith(names) else None)
sys.exit(cli.main(sys.argv[1:]))
"""
    python = engine_criu.with_name("python3")
    at, stride = 0, max(240 // KILLS, 1)
    while True:
        command = [python, "-c", code, str(at), "dump", "-R", "-t", str(process.pid), "-D", images]
        done = subprocess.run(command, capture_output=True, text=True)
        wait(lambda: kids(process.pid) == before)
        wait(lambda: proc.status(process.pid)["TracerPid"] == "0")
        assert process.poll() is None, f"at line {at}: {log(process)!r}"
        if done.returncode != KILLED:
            break
        at += stride
    assert done.returncode == 0, done.stderr
    assert at > 150, "the lines were not hit one by one"
