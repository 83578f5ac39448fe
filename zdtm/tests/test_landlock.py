"""Landlock: restricted threads are told from free ones, by asking about processes that do no harm."""

from __future__ import annotations

import errno
import os
import struct
import time
from typing import Any

import pytest

from engine.errors import KernelError
from engine.files.scope import Scope
from engine.kernel import landlock as kernel
from engine.kernel import proc
from engine.log import Log
from engine.options import Options
from engine.plan import abi
from engine.plan.program import Program
from engine.tasks import landlock
from zdtm.tests.machine import Seeded, seeded
from zdtm.tests.tasks import wait

STATUS = {
    "Uid": "1000\t1000\t1000\t1000",
    "Gid": "1001\t1001\t1001\t1001",
    "CapEff": "0000000000000000",
    "Tgid": str(os.getpid()),
}
CAPABLE = {"Uid": "0\t0\t0\t0", "Gid": "0\t0\t0\t0", "CapEff": "000001ffffffffff", "Tgid": str(os.getpid())}
PR_SET_NO_NEW_PRIVS = 38

needs_landlock = pytest.mark.skipif(kernel.abi() == 0, reason="this kernel has no Landlock")


class Interview:
    """Questions and answers of a seed."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ask = program.ask
        self.room = program.arena.reserve
        self.task: Seeded | None = None

    def result(self, ref: Any) -> int:
        assert self.task
        return self.task.result(self.program, ref)


def restrict(program: Program) -> None:
    rules = program.arena.put(struct.pack("<Q", 1 << 10))  # handled_access_fs: LANDLOCK_ACCESS_FS_MAKE_FIFO
    fd = program.sys("landlock_create_ruleset", rules, 8, 0)
    program.sys("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program.sys("landlock_restrict_self", fd, 0)


@needs_landlock
@pytest.mark.parametrize("status", [CAPABLE, STATUS], ids=["capable", "unprivileged"])
def test_restriction_is_told_from_freedom(status: dict[str, str]) -> None:
    asked: list[Any] = []

    def write(program: Program) -> None:
        q: Any = Interview(program)
        asked.append(q)
        if status is STATUS:
            program.sys("setresgid", 1001, 1001, 1001)
            program.sys("setresuid", 1000, 1000, 1000)
        asked.append(landlock.ask_thread(q, probes))
        restrict(program)
        asked.append(landlock.ask_thread(q, probes))

    with landlock.Probes(os.getpid(), Scope(Options(), Log(), os.getpid())) as probes:
        probes.add(STATUS)
        probes.add(CAPABLE)
        probes.add(STATUS)
        assert len(probes.pids) == 2
        assert probes.pids[1] == os.getpid()
        with seeded(write) as task:
            q, before, after = asked
            q.task = task
            state = task.state(q.program)
            assert state[0] == abi.STATE_PARKED, q.program.failure(*state[1:])
            assert landlock.blocker(task.pid, q, before, probes.nth(status)) is None
            restricted = landlock.blocker(task.pid, q, after, probes.nth(status))
            assert restricted
            assert restricted.startswith("is restricted by Landlock")
        bystander = probes.pids[0]
        assert os.path.exists(f"/proc/{bystander}")
    assert not os.path.exists(f"/proc/{bystander}")


@needs_landlock
def test_thread_for_which_nobody_was_there_to_ask_about() -> None:
    class Answers:
        def result(self, ref: int) -> int:
            return ref

    q: Any = Answers()
    with landlock.Probes(os.getpid(), Scope(Options(), Log(), os.getpid())) as probes:
        probes.add(CAPABLE)
        assert not probes.suits(STATUS)
    for asked, nth in (([-errno.EPERM, 0], 1), ([0], 0), ([], 0)):
        assert landlock.blocker(3, q, asked, nth) is None  # type: ignore[arg-type]
    assert "Landlock" in str(landlock.blocker(3, q, [-errno.EPERM], 0))  # type: ignore[list-item]
    with pytest.raises(KernelError, match="No such process"):
        landlock.blocker(3, q, [-errno.ESRCH], 0)  # type: ignore[list-item]


def test_bystander_is_harmless() -> None:
    pid = kernel.start_bystander(1000, 1001)
    try:
        status = proc.status(pid)
        assert (status["Uid"].split(), status["Gid"].split()) == (["1000"] * 4, ["1001"] * 4)
        assert not status["Groups"].strip()
        assert (int(status["CapEff"], 16), int(status["CapPrm"], 16)) == (0, 0)
        wait(lambda: not os.listdir(f"/proc/{pid}/fd"))
    finally:
        kernel.end_bystander(pid)
    assert not os.path.exists(f"/proc/{pid}")


def test_bystander_dies_with_the_engine() -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(kernel.start_bystander(1000, 1001)).encode())
        os.kill(os.getpid(), 9)
    os.close(write)
    pid = int(os.read(read, 32))
    os.wait()
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and proc.Stat(pid).state not in ("Z", "X"):
        assert time.monotonic() < end
        time.sleep(0.002)


def test_kernel_without_landlock_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "abi", lambda: 0)
    q: Any = None
    with landlock.Probes(os.getpid(), Scope(Options(), Log(), os.getpid())) as probes:
        probes.add(STATUS)
        assert probes.pids == []
        assert probes.suits(STATUS)
    assert landlock.blocker(1, q, [], 0) is None
