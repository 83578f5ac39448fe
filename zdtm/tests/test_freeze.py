"""Freezing: who ends, or executes a program, in the middle of it, and who waits for that (ptrace(2), execve(2))."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.kernel import proc
from zdtm.tests.tasks import PROGRAMS, Criu, wait

# Freeze a tree again and again: all threads of who is in it stand still, and nobody else is traced afterwards.
LOOP = """
import os, sys, time
from engine.kernel import proc, process
from engine.tasks.freeze import frozen

def tids(pid):
    return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]

process.block_sigchld(True)
threads = 0
for n in range(int(sys.argv[2])):
    with frozen(int(sys.argv[1]), 5_000_000, 0, {}) as tree:
        for task in tree.tasks:
            states = {tid: proc.Stat(tid).state for tid in tids(task.pid)}
            live = {tid for tid, state in states.items() if state not in "ZX"}
            assert all(states[tid] == "t" for tid in live), (task.pid, states)
            assert live == {tracee.pid for tracee in task.tracees}, (task.pid, states)
            threads += len(live)
        born = {int(pid) for task in tree.tasks for tid in task.tracees
                for pid in proc.read_text(f"/proc/{task.pid}/task/{tid.pid}/children").split()}
        assert born <= {task.pid for task in tree.tasks}, born
    for pid in filter(str.isdigit, os.listdir("/proc") if n % 10 == 0 else []):
        try:
            # but for a leader that ended before its threads, which is seen when they have ended, or we
            mine = [tid for tid in tids(pid) if proc.status(tid).get("TracerPid") == str(os.getpid())
                    and not (tid == int(pid) and proc.Stat(tid).state == "Z")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert not mine, (n, mine)
print(threads)
"""
ROUNDS = 150


def test_threads_end_and_execute_meanwhile(c_program, start) -> None:  # type: ignore[no-untyped-def]
    """A process that ends or executes a program waits for its other threads, and these for their tracer."""
    process = start(c_program(PROGRAMS / "ending.c", "-pthread"))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    loop = [sys.executable, "-c", LOOP, str(process.pid), str(ROUNDS)]
    done = subprocess.run(loop, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2 * ROUNDS  # or there was little to see
    assert proc.Stat(process.pid).state not in "ZX"
    process.kill()


def test_dumps_of_them(criu: Criu, c_program, start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The same by whole dumps of a tree that runs on: what has ended meanwhile is none of their business."""
    process = start(c_program(PROGRAMS / "ending.c", "-pthread"))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    for n in range(10):
        images = tmp_path / str(n)
        images.mkdir()
        criu("dump", "-t", str(process.pid), "-R", "-D", str(images))
        assert (images / "inventory.img").exists()
    process.kill()
