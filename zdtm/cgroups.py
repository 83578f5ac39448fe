"""Cgroups of cases, from outside: those that a test has made, by the mark in their names, and none of them left.

A hook may take `ready`, `dumped` and `clean` as they are.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.kernel import proc
from engine.kernel.cgroup import Hierarchy, forget
from zdtm.failures import HarnessProblem

if TYPE_CHECKING:
    from zdtm.hooks import Outside

MARK = "zdtm-cg-"
ALONE = __file__  # hierarchies are the machine's, and everybody sees them come and go
BUSY = 2.0  # seconds that a cgroup may have members that have ended


def of(pid: int) -> dict[str, str]:
    """Where a task is, by hierarchy."""
    return proc.cgroups(proc.read_text(f"/proc/{pid}/cgroup"))


def ready(o: Outside) -> None:
    """Note what the tree's tasks have made: whole hierarchies with the mark in their names, or cgroups at their top."""
    kept = o.kept.setdefault("cgroups", {})
    todo = [o.pid]
    while todo:
        pid = todo.pop()
        for name, path in of(pid).items():
            top = "/" + path.strip("/").split("/")[0]
            if path != "/" and (MARK in name or MARK in top):  # in those of others it is at the root
                kept.setdefault(name, set()).add("/" if MARK in name else top)
        todo += proc.children(pid)


def dumped(o: Outside) -> None:
    """All of it goes: the restore has to make it. Who is still there is moved to the root."""
    for name, tops in o.kept.get("cgroups", {}).items():
        hierarchy = Hierarchy(name)
        try:
            for top in tops:
                if hierarchy.exists(top):
                    _remove(hierarchy, top)
        finally:
            hierarchy.close()
        if name and not _is_mounted(name) and not forget(name):
            raise HarnessProblem(f"cgroup hierarchy {name} does not end: another engine may fail while it is there")


def clean(o: Outside) -> None:
    """The same, and what the test has mounted."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{o.directory}/"):
            o.host("umount", "-l", point)
    dumped(o)


def _is_mounted(name: str) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(" - cgroup " in line and set(name.split(",")) <= set(line.split()[-1].split(",")) for line in lines)


def _remove(hierarchy: Hierarchy, path: str) -> None:
    # first, since the members of threaded cgroups are told by the domain above
    for pid in (hierarchy.find(path, "cgroup.procs") or "").split() if path != "/" else []:
        with suppress(EngineError):  # it has ended
            hierarchy.write("/", "cgroup.procs", pid)
    for child in hierarchy.children(path):
        _remove(hierarchy, f"{path.rstrip('/')}/{child}")
    if path == "/":
        return
    deadline = time.monotonic() + BUSY
    while True:
        try:
            hierarchy.remove(path)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def tree(name: str, path: str = "/") -> list[str]:
    """All cgroups of a hierarchy, from one on."""
    hierarchy = Hierarchy(name)
    try:
        out = [path]
        for at in out:
            out += [f"{at.rstrip('/')}/{child}" for child in hierarchy.children(at)]
        return sorted(out)
    finally:
        hierarchy.close()
