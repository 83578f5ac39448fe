"""SIGKILL at any moment: of `criu dump`, and the task runs on; of `criu restore`, and nothing is left."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from engine.kernel import proc
from zdtm.tests import killing

pytestmark = pytest.mark.usefixtures("reaper")

WORKER = Path(__file__).parent / "programs" / "worker.c"
ROUNDS = 80


def counter(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little")


def works(path: Path) -> None:
    """The worker goes on counting; it stops by itself when a check of its own fails."""
    before = counter(path)
    killing.wait_until("the worker counts", lambda: counter(path) > before + 2)


def state(pid: int) -> tuple[object, ...]:
    status = proc.status(pid)
    return (
        proc.read_text(f"/proc/{pid}/maps"),
        [status[key] for key in ("TracerPid", "SigBlk", "SigIgn", "SigCgt", "Threads", "Uid", "CapEff")],
        [(fd, os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in proc.fds(pid)],
        proc.children(pid),
    )


def settled(pid: int, before: tuple[object, ...]) -> tuple[object, ...]:
    """The state once a tracer that was killed is off, and a task that it left in foreign code has gone home."""
    killing.wait_until("the tracer is gone", lambda: proc.status(pid)["TracerPid"] == "0")
    end = time.monotonic() + 2
    while (now := state(pid)) != before and time.monotonic() < end:
        time.sleep(0.002)
    return now


def test_killed_dump_leaves_the_task_as_it_was(c_program, start, engine_criu, tmp_path) -> None:  # type: ignore[no-untyped-def]
    count = tmp_path / "count"
    worker = start(c_program(WORKER), str(count))
    killing.wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    images = tmp_path / "images"
    images.mkdir()
    command = [str(engine_criu), "dump", "-R", "-t", str(worker.pid), "-D", str(images)]
    whole = max(killing.duration(command) for _ in range(3))
    before = state(worker.pid)
    random.seed(worker.pid)
    killed = 0
    for _ in range(ROUNDS):
        if killing.run_and_kill(command, random.uniform(0.3, 1.1) * whole) == killing.KILLED:
            killed += 1
        else:
            whole = killing.duration(command)  # the machine may be less busy by now
        after = settled(worker.pid, before)
        assert after == before
        works(count)
        assert worker.poll() is None
    assert killed > ROUNDS // 4, "the kills came too late to show anything"


@pytest.mark.parametrize("flags", [(), ("-DMDWE",)], ids=["plain", "mdwe"])
def test_parasite_without_its_tracer_goes_home(c_program, start, tmp_path, flags) -> None:  # type: ignore[no-untyped-def]
    """The worst moments, each hit on purpose: the engine dies between any two of its steps into and out of the task."""
    count = tmp_path / "count"
    worker = start(c_program(WORKER, *flags), str(count))
    killing.wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    before = state(worker.pid)
    step = 0
    while killing.visited_and_killed(worker.pid, step, 0.0):
        assert settled(worker.pid, before) == before, f"died at step {step}"
        works(count)
        step += 1
    assert settled(worker.pid, before) == before
    assert step > 100, "the steps were not taken one by one"


def test_killed_restore_leaves_nothing(c_program, start, engine_criu, tmp_path) -> None:  # type: ignore[no-untyped-def]
    count = tmp_path / "count"
    worker = start(c_program(WORKER), str(count))
    killing.wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    images, work = tmp_path / "images", tmp_path / "work"
    images.mkdir()
    work.mkdir()
    subprocess.run([str(engine_criu), "dump", "-t", str(worker.pid), "-D", str(images)], check=True)
    worker.wait()
    pid = worker.pid
    command = [str(engine_criu), "restore", "-d", "-v4", "-o", "restore.log", "-W", str(work), "-D", str(images)]
    whole = 0.0
    for _ in range(3):
        whole = max(whole, killing.duration(command))
        works(count)
        killing.end([pid])
    random.seed(pid)
    killed = 0
    for _ in range(ROUNDS):
        before = killing.children()
        killed += killing.run_and_kill(command, random.uniform(0.3, 1.05) * whole) == killing.KILLED
        at = counter(count)
        killing.wait_until("it has died, or works", lambda at=at: not killing.alive(pid) or counter(count) > at + 2)  # type: ignore[misc]
        if killing.alive(pid):
            # the kill came too late: the engine had said that it lets go, and the task must run well
            assert "Restore finished successfully" in (work / "restore.log").read_text()
            killing.end([pid])
            whole = killing.duration(command)  # the machine may be less busy by now
            works(count)
            killing.end([pid])
        killing.wait_until("nothing is left", lambda before=before: not killing.strays(before))  # type: ignore[misc]
    assert killed > ROUNDS // 4, "the kills came too late to show anything"
