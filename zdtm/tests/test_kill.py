"""SIGKILL at any moment: of `criu dump`, and the task runs on; of `criu restore`, and nothing is left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import time
import traceback
from pathlib import Path

import pytest

from engine.kernel import proc

WORKER = Path(__file__).parent / "programs" / "worker.c"
ROUNDS = 80
PR_SET_CHILD_SUBREAPER = 36


def counter(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little")


def wait_until(what: str, check, seconds: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"timeout: {what}"
        time.sleep(0.005)


def works(path: Path) -> None:
    """The worker goes on counting; it stops by itself when a check of its own fails."""
    before = counter(path)
    wait_until("the worker counts", lambda: counter(path) > before + 2)


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
    wait_until("the tracer is gone", lambda: proc.status(pid)["TracerPid"] == "0")
    end = time.monotonic() + 2
    while (now := state(pid)) != before and time.monotonic() < end:
        time.sleep(0.002)
    return now


def run_and_kill(command: list[str], delay: float) -> int:
    """Start a command, SIGKILL it after `delay` seconds; its status (-9 where the kill came in time)."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    child.kill()
    return child.wait()


def duration(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def test_killed_dump_leaves_the_task_as_it_was(c_program, start, engine_criu, tmp_path) -> None:  # type: ignore[no-untyped-def]
    count = tmp_path / "count"
    worker = start(c_program(WORKER), str(count))
    wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    images = tmp_path / "images"
    images.mkdir()
    command = [str(engine_criu), "dump", "-R", "-t", str(worker.pid), "-D", str(images)]
    whole = max(duration(command) for _ in range(3))
    before = state(worker.pid)
    random.seed(worker.pid)
    killed = 0
    for _ in range(ROUNDS):
        if run_and_kill(command, random.uniform(0.3, 1.1) * whole) == -signal.SIGKILL:
            killed += 1
        else:
            whole = duration(command)  # the machine may be less busy by now
        after = settled(worker.pid, before)
        assert after == before
        works(count)
        assert worker.poll() is None
    assert killed > ROUNDS // 4, "the kills came too late to show anything"


def test_parasite_without_its_tracer_goes_home(c_program, start, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The worst moments, each hit on purpose: the engine dies between any two of its steps into and out of the task."""
    count = tmp_path / "count"
    worker = start(c_program(WORKER), str(count))
    wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    before = state(worker.pid)
    step = 0
    while True:
        child = os.fork()
        if child == 0:
            _inject_and_die(worker.pid, step)
        _, status = os.waitpid(child, 0)
        assert settled(worker.pid, before) == before, f"died at step {step}"
        works(count)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        step += 1
    assert step > 12, "the steps were not taken one by one"


def _inject_and_die(pid: int, die_at: int) -> None:
    """In a child: visit the task with a parasite; SIGKILL ourselves at the n-th call into the kernel's ptrace."""
    from engine.arch import this_machine
    from engine.context import built
    from engine.kernel import ptrace
    from engine.plan.program import Arena, Machine, free_hole
    from engine.tasks import freeze
    from engine.tasks.inject import Graft, injected

    class Deadly(ptrace.Tracee):
        __slots__ = ("calls",)

        def __getattribute__(self, name: str):  # type: ignore[no-untyped-def]
            value = object.__getattribute__(self, name)
            if callable(value) and not name.startswith("__"):
                calls = object.__getattribute__(self, "calls") if hasattr(type(self), "calls") else 0
                object.__setattr__(self, "calls", calls + 1)
                if calls == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return value

        def __init__(self, pid: int, deadline_us: int) -> None:
            object.__setattr__(self, "calls", 0)
            super().__init__(pid, deadline_us)

    freeze.Tracee = Deadly  # type: ignore[misc]
    machine = Machine(built(), this_machine().NAME)
    code = 1
    try:
        with freeze.frozen(pid, 5_000_000) as tracee:
            vmas = proc.smaps(pid)
            arena = Arena(machine, free_hole([(v.start, v.end) for v in vmas], 1 << 20))
            program = arena.program("test")
            program.ask("getpid")
            program.park()
            with injected(this_machine(), tracee, Graft(pid, vmas, arena, program)) as parasite:
                parasite.run(program)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def test_killed_restore_leaves_nothing(c_program, start, engine_criu, tmp_path) -> None:  # type: ignore[no-untyped-def]
    count = tmp_path / "count"
    worker = start(c_program(WORKER), str(count))
    wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    images, work = tmp_path / "images", tmp_path / "work"
    images.mkdir()
    work.mkdir()
    subprocess.run([str(engine_criu), "dump", "-t", str(worker.pid), "-D", str(images)], check=True)
    worker.wait()
    pid = worker.pid
    command = [str(engine_criu), "restore", "-d", "-v4", "-o", "restore.log", "-W", str(work), "-D", str(images)]
    whole = 0.0
    for _ in range(3):
        whole = max(whole, duration(command))
        works(count)
        _end(pid)
    random.seed(pid)
    killed = 0
    for _ in range(ROUNDS):
        before = _processes()
        killed += run_and_kill(command, random.uniform(0.3, 1.05) * whole) == -signal.SIGKILL
        at = counter(count)
        wait_until("it has died, or works", lambda at=at: not _alive(pid) or counter(count) > at + 2)  # type: ignore[misc]
        if _alive(pid):
            # the kill came too late: the engine had said that it lets go, and the task must run well
            assert "Restore finished successfully" in (work / "restore.log").read_text()
            _end(pid)
            whole = duration(command)  # the machine may be less busy by now
            works(count)
            _end(pid)
        assert not [p for p in _processes() - before if _is_ours(p)]
    assert killed > ROUNDS // 4, "the kills came too late to show anything"


def _alive(pid: int) -> bool:
    """Is there such a process? A dead one that was handed to us is reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return os.path.exists(f"/proc/{pid}")


def _is_ours(pid: int) -> bool:
    """Did somebody whose parent has died leave it to us? We are the subreaper of all that is started here."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stat = proc.Stat(pid)
        return stat.ppid == os.getpid() and stat.state not in ("Z", "X")
    return False


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(f"pid {pid} is free", lambda: not _alive(pid))


@pytest.fixture(autouse=True)
def _reaper():  # type: ignore[no-untyped-def]
    """Restored tasks become orphans: they come to us, since not every machine's pid 1 is quick to reap them."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
