"""SIGKILL at any moment, with a tree of 20 tasks of 5 threads: of a dump, and all run on; of a restore, and none is.

KILLS=200 in the environment for that many kills a test; from 160 on, the engine dies between any two of its lines.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.kernel import proc
from zdtm.tests import killing

pytestmark = pytest.mark.usefixtures("reaper")

PROGRAM = Path(__file__).parent / "programs" / "tree.c"
KILLS = int(os.environ.get("KILLS", "40"))
STRIDE = max(160 // KILLS, 1)  # of the lines of the engine after which it is killed
TASKS, THREADS = 20, 5
START = 0.03  # seconds that pass until the engine does anything
HEAD = struct.Struct("<IIII")  # struct seen of tree.c
COUNTERS = HEAD.size + TASKS * (1 + THREADS) * 4
# of every thread: what a tracer, or foreign code, might leave changed
STATUS = ("TracerPid", "SigBlk", "SigPnd", "NoNewPrivs", "Seccomp", "CapEff")


class Tree:
    """The tasks, by the file that all of them count in. Raises AssertionError when a check of their own failed."""

    def __init__(self, program: Path, path: Path, tasks: int) -> None:
        self.path = path
        self.count = tasks
        self.pids: list[int] = []
        with open(f"{path}.log", "wb") as log:
            process = subprocess.Popen(
                [str(program), str(path), str(tasks)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=path.parent,
                start_new_session=True,
            )
        self.root = process.pid
        process.returncode = 0  # reaped by this class: it may have been restored by then
        try:
            killing.wait_until("the tree starts", lambda: path.exists() and self._head()[0] == tasks * THREADS)
        finally:
            raw = path.read_bytes().ljust(COUNTERS, b"\0")
            self.pids = list(struct.unpack_from(f"<{tasks}I", raw, HEAD.size))
            if 0 in self.pids:
                self.end()
        self.tids = list(struct.unpack_from(f"<{tasks * THREADS}I", raw, HEAD.size + TASKS * 4))

    def _head(self) -> tuple[int, ...]:
        return HEAD.unpack_from(self.path.read_bytes().ljust(HEAD.size, b"\0"))

    def counters(self) -> tuple[int, ...]:
        return struct.unpack_from(f"<{self.count * THREADS}Q", self.path.read_bytes(), COUNTERS)

    def log(self) -> str:
        return Path(f"{self.path}.log").read_text()

    def alive(self) -> list[int]:
        return [pid for pid in self.pids if killing.alive(pid)]

    def left(self) -> list[str]:
        """Those that are there, with the states of their threads."""
        out = []
        for pid in self.alive():
            with suppress(OSError):
                out.append(f"{pid} {[(tid, proc.Stat(tid).state) for tid in proc.threads(pid)]}")
        return out

    def works(self) -> bool:
        """Every thread goes on counting, that is, has passed its checks once more; False if a task is no more."""
        before = self.counters()
        deadline = time.monotonic() + 30
        while any(new - old in (0, 1) for old, new in zip(before, self.counters(), strict=True)):
            if len(self.alive()) < self.count:
                return False
            assert time.monotonic() < deadline, f"these do not go on: {self._stuck(before)}"
            time.sleep(0.005)
        assert not self._head()[2] and not self.log(), self.log()
        return True

    def _stuck(self, before: tuple[int, ...]) -> list[str]:
        now = self.counters()
        return [
            f"task {i // THREADS} thread {i % THREADS}: {proc.read_text(f'/proc/{self.tids[i]}/status')}"
            for i in range(len(now))
            if now[i] - before[i] in (0, 1)
        ]

    def state(self) -> dict[object, object]:
        """All that the engine might leave changed; "stopped" is empty for a tree that runs."""
        out: dict[object, object] = {"stopped": []}
        for number, pid in enumerate(self.pids):
            stat = proc.Stat(pid)
            out[pid, "maps"] = proc.read_text(f"/proc/{pid}/maps")
            out[pid, "fds"] = [(fd, os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in proc.fds(pid)]
            out[pid, "tree"] = (stat.ppid, stat.pgid, stat.sid, sorted(proc.children(pid)))
            tids = self.tids[number * THREADS : number * THREADS + THREADS]
            out[pid, "threads"] = sorted(proc.threads(pid)) == sorted(tids)
            for tid in tids:
                status = proc.status(tid)
                out[tid, "status"] = [status[key] for key in STATUS]
                if status["State"][0] in "tT":
                    out["stopped"] = [*out["stopped"], tid]  # type: ignore[misc]
        return out

    def settled(self, before: dict[object, object]) -> dict[object, object]:
        """What has changed, once a tracer that was killed is off, and threads that it left in foreign code home."""
        deadline = time.monotonic() + 15
        while True:
            now = self.state()
            changed = {key: (before[key], now[key]) for key in before if now[key] != before[key]}
            if not changed or time.monotonic() > deadline:
                return changed
            time.sleep(0.002)

    def finish(self) -> None:
        """Have all make their last checks and end; with the root's exit status 0."""
        os.kill(self.root, signal.SIGTERM)
        _, status = os.waitpid(self.root, 0)
        assert status == 0, self.log()
        assert not self.alive() and not self._head()[2] and not self.log(), self.log()

    def end(self) -> None:
        killing.end([pid for pid in reversed(self.pids) if pid])  # children first: they look who their parent is


@pytest.fixture
def tree(c_program: Callable[..., Path], reaper: None, tmp_path: Path) -> Iterator[Tree]:
    started = Tree(c_program(PROGRAM, "-pthread"), tmp_path / "seen", TASKS)
    yield started
    started.end()


@pytest.fixture
def task(c_program: Callable[..., Path], reaper: None, tmp_path: Path) -> Iterator[Tree]:
    started = Tree(c_program(PROGRAM, "-pthread"), tmp_path / "seen", 1)
    yield started
    started.end()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


class Kills:
    """Moments to kill at, spread over a command's duration; `whole` follows how busy the machine is."""

    def __init__(self, whole: float) -> None:
        self._whole = whole
        self._random = random.Random(KILLS)
        self.in_time = 0

    def kill(self, command: list[str]) -> str:
        """Start the command and kill it; returns a description of the moment."""
        delay = self._random.uniform(START, self._whole)
        in_time = killing.run_and_kill(command, delay) == killing.KILLED
        self.in_time += in_time
        self._whole *= 1.005 if in_time else 0.95
        return f"{delay:.4f} s of about {self._whole:.4f} s, {'in time' if in_time else 'too late'}"

    def check(self) -> None:
        assert self.in_time > KILLS // 2, f"only {self.in_time} of {KILLS} kills came in time to show anything"


def test_killed_dump_leaves_the_tree_as_it_was(tree: Tree, engine_criu: Path, directory: Path) -> None:
    command = [str(engine_criu), "dump", "-R", "-t", str(tree.root), "-D", str(directory)]
    kills = Kills(min(killing.duration(command) for _ in range(3)))
    assert tree.works()
    before = tree.state()
    assert not before["stopped"]
    for _ in range(KILLS):
        moment = kills.kill(command)
        assert not tree.settled(before), moment
        assert tree.works(), moment
    kills.check()
    tree.finish()


def test_killed_dump_leaves_the_tree_or_whole_images(tree: Tree, engine_criu: Path, directory: Path) -> None:
    """The same for a dump that is to end it: either all run on, or all are dead and the images are complete."""
    command = [str(engine_criu), "dump", "-t", str(tree.root), "-D", str(directory)]
    restore = [str(engine_criu), "restore", "-d", "-D", str(directory)]
    before = tree.state()
    whole = []
    for _ in range(3):
        whole.append(killing.duration(command))
        killing.wait_until("all are dead", lambda: not tree.alive())
        killing.duration(restore)
        assert tree.works()
    kills = Kills(min(whole))
    for _ in range(KILLS):
        moment = kills.kill(command)
        if len(tree.alive()) < TASKS or not tree.works():
            killing.wait_until(f"{moment}: all are dead, not only some", lambda: not tree.alive())
            killing.duration(restore)
            assert tree.works(), moment
        assert not tree.settled(before), moment
    kills.check()
    tree.finish()


def test_killed_restore_leaves_nothing(tree: Tree, engine_criu: Path, directory: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run([str(engine_criu), "dump", "-t", str(tree.root), "-D", str(directory)], check=True)
    killing.wait_until("all are dead", lambda: not tree.alive())
    command = [str(engine_criu), "restore", "-d", "-v4", "-o", "restore.log", "-W", str(work), "-D", str(directory)]
    whole = []
    for _ in range(3):
        whole.append(killing.duration(command))
        assert tree.works()
        tree.end()
    kills = Kills(min(whole))
    before, names, mounts = killing.children(), _names(tmp_path), _mounts(tmp_path)
    for _ in range(KILLS):
        moment = kills.kill(command)
        killing.wait_until(f"{moment}: none, or all", lambda: len(tree.alive()) in (0, TASKS))
        if tree.alive() and tree.works():
            # the kill came too late: the engine had said that it lets go, and the tree must run well
            assert "Restore finished successfully" in (work / "restore.log").read_text(), moment
            tree.end()
        deadline = time.monotonic() + 30
        while left := tree.left() + killing.strays(before):
            assert time.monotonic() < deadline, f"{moment}: {left}, log: {_last_line(work / 'restore.log')}"
            time.sleep(0.002)
        assert _names(tmp_path) == names, moment
        # another engine, of an item beside, mounts something for a moment
        killing.wait_until(f"{moment}: no more mounts", lambda: _mounts(tmp_path) <= mounts)
    kills.check()
    killing.duration(command)
    assert tree.works()
    tree.finish()


@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_threads_without_their_tracer_go_home(task: Tree, seconds: float) -> None:
    """The worst moments, hit on purpose: the engine dies between two of its steps into and out of a thread.

    It does so at once, or when the thread had time to come to where it waits for the engine.
    """
    before = task.state()
    step = 0 if seconds else STRIDE // 2
    while killing.visited_and_killed(task.root, step, seconds):
        assert not task.settled(before), f"died at step {step}"
        assert task.works(), f"died at step {step}"
        step += STRIDE
    assert not task.settled(before)
    assert step > 300, "the steps were not taken one by one"
    task.finish()


def _last_line(path: Path) -> str:
    return path.read_text().strip().rpartition("\n")[2] if path.exists() else "(none)"


def _names(path: Path) -> set[str]:
    return {f"{base}/{name}" for base, dirs, files in os.walk(path) for name in (*dirs, *files)}


def _mounts(path: Path) -> set[str]:
    lines = proc.read_text("/proc/self/mountinfo").splitlines()
    return {line for line in lines if str(path) in line or "criu" in line or "crtools" in line}
