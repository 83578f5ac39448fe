"""Hooks of cases whose tasks have to be in their cgroups again, as the machine sees them from outside.

A hook takes all of these as they are: `from zdtm.cgroup_places import ALONE, clean, dumped, ready, restored`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.kernel import proc
from zdtm import cgroups

if TYPE_CHECKING:
    from zdtm.hooks import Outside

ALONE, clean, dumped = cgroups.ALONE, cgroups.clean, cgroups.dumped


def ready(o: Outside) -> None:
    """Note where they are."""
    cgroups.ready(o)
    o.kept["where"] = _where(o)


def restored(o: Outside) -> None:
    """There they are."""
    o.same(o.kept["where"], _where(o))


def _where(o: Outside) -> list[dict[str, str]]:
    """The first task and its children, in hierarchies that are the test's own."""
    tasks = [cgroups.of(pid) for pid in (o.pid, *sorted(proc.children(o.pid)))]
    return [{name: its.get(name, "") for name in o.kept["cgroups"]} for its in tasks]
