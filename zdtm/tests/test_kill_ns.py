"""SIGKILL of the engine, and of its opener, at any moment, with a tree in namespaces: it runs on, or nothing is left.

Mounts, cgroups, firewall rules and processes that are left behind are found by the harness at the end of the item.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engine.kernel import proc
from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.flavours import FLAVOURS
from zdtm.modes import Mode
from zdtm.observe.proc import tree
from zdtm.places import places
from zdtm.run import Run, run_case
from zdtm.tests import killing

STATIC = Path(__file__).parents[1] / "static"
ROUNDS = 2


def _settled(run: Run, before: dict[int, str]) -> None:
    """All tasks are there, untraced, and have the mappings that they had."""

    def look() -> bool:
        now = {pid: proc.read_text(f"/proc/{pid}/maps") for pid in tree(run.tree.root_pid)}
        return now == before and all(proc.status(pid)["TracerPid"] == "0" for pid in now)

    killing.wait_until("the tree is as before", look)


def _killed_dumps(run: Run) -> None:
    run.work.mkdir(exist_ok=True)
    before = {pid: proc.read_text(f"/proc/{pid}/maps") for pid in tree(run.tree.root_pid)}
    command = [str(run.dump_engine.path), "dump", "-R", "-t", str(run.tree.root_pid), "-D", str(run.work)]
    whole = killing.duration(command)
    for _ in range(ROUNDS):
        killing.run_and_kill(command, random.uniform(0.3, 0.9) * whole)
        _settled(run, before)


def _command(run: Run) -> list[str]:
    root = str(run.tree.private_root)
    wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount --bind "$0" "$0" && exec "$@"',
        root,
    ]
    where = ["-D", str(run.images), "-W", str(run.work), "-o", "killed.log", "-v4", "--root", root]
    return [*wrapper, str(run.restore_engine.path), "restore", "-d", *where]


def _nothing_left(run: Run, status: int) -> bool:
    """After a restore that was hit; True: it had not been too late."""
    told = (run.work / "killed.log").read_text() if (run.work / "killed.log").exists() else ""
    if status == 0 or "Restore finished successfully" in told:
        killing.end(sorted(killing.children() - run.others))  # of a namespace the init ends when others are reaped
        (run.work / "killed.log").unlink(missing_ok=True)
        return False
    killing.wait_until("nothing is left", lambda: not killing.strays(run.others))
    return True


def _killed_restores(run: Run) -> None:
    command = _command(run)
    whole = killing.duration(command)
    _nothing_left(run, 0)
    killed = 0
    for _ in range(ROUNDS):
        killed += _nothing_left(run, killing.run_and_kill(command, random.uniform(0.3, 0.9) * whole))
        killed += _nothing_left(run, _kill_opener(command, random.uniform(0.0, 0.05)))
    assert killed, "the kills came too late to show anything"


def _kill_opener(command: list[str], delay: float) -> int:
    """Kill a process that the engine has forked, some time after it is there; how the engine ends then."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended: there are others
            forked = [pid for pid in proc.children(child.pid) if "criu" in proc.read_text(f"/proc/{pid}/cmdline")]
            if forked:
                time.sleep(delay)
                os.kill(forked[-1], signal.SIGKILL)
                break
    return child.wait(20)


def test_killed_in_namespaces(engine_criu: Path, request: pytest.FixtureRequest) -> None:
    ours = engine(engine_criu)
    mode = Mode("killed", "killed", (_killed_dumps, steps.dump, _killed_restores, steps.restore))
    case, where = load(STATIC / "pidns_nested.c"), places(request.config.rootpath)
    run_case(case, FLAVOURS["userns"], mode, ours, ours, where, label="killed")
