"""Running programs of operations in a seed of their own, for the tests of the executor."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.context import built
from engine.kernel import process
from engine.plan import abi
from engine.plan.program import Arena, Machine, Program, Ref, result, status

BASE = 1 << 32


class Seeded:
    """A task that was started as a seed and has run its program to the end."""

    def __init__(self, pid: int, arena: Arena, view: mmap.mmap) -> None:
        self.pid = pid
        self.arena = arena
        self.view = view

    def result(self, program: Program, ref: Ref) -> int:
        """What an operation returned."""
        return result(self.view, self.arena, program, ref)

    def state(self, program: Program) -> tuple[int, int, int]:
        """(state, operation, error)."""
        return status(self.view, self.arena, program)

    def word(self, address: int) -> int:
        """A 32-bit word of the arena."""
        at = self.arena.offset(address)
        return int.from_bytes(self.view[at : at + 4], "little")


@contextmanager
def seeded(write: Callable[[Program], object]) -> Iterator[Seeded]:
    """Run the program that `write` writes, until it parks or fails; the task is killed at the end."""
    machine = Machine(built(), os.uname().machine)
    arena = Arena(machine, BASE)
    program = arena.program("test")
    write(program)
    program.park()
    image = arena.image(program, arena.stack())
    memfd = os.memfd_create("arena")
    high = os.dup2(memfd, 200)
    os.truncate(high, len(image))
    view = mmap.mmap(high, len(image))
    view[:] = image
    seed = os.dup2(os.open(f"{machine.path}/seed", os.O_RDONLY), 201)
    process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
    pid = process.spawn_seed(seed, high, 0, False)
    try:
        end = time.monotonic() + 5
        while status(view, arena, program)[0] == abi.STATE_RUNNING:
            assert time.monotonic() < end, f"the program hangs in operation {status(view, arena, program)[1]}"
            done, how = os.waitpid(pid, os.WNOHANG)
            assert not done, f"the task died: status {how:#x}"
            time.sleep(0.001)
        yield Seeded(pid, arena, view)
    finally:
        process.keeper_disarm()
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        view.close()
        for fd in (memfd, high, seed):
            os.close(fd)
