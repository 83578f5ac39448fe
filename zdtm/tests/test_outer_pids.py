"""--outer-pids: a tree in a pid namespace of its own gets back its pids outside of that, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.failures import Refused
from zdtm.flavours import FLAVOURS
from zdtm.modes import Mode
from zdtm.observe.proc import threads, tree
from zdtm.places import places
from zdtm.run import Run, run_case

STATIC = Path(__file__).parents[1] / "static"


def _all(run: Run) -> set[int]:
    return {tid for pid in tree(run.tree.root_pid) for tid in threads(pid)}


def _run(engine_criu: Path, request: pytest.FixtureRequest, flavour: str) -> list[set[int]]:
    """What pids there were before and after."""
    seen: list[set[int]] = []
    look = lambda run: seen.append(_all(run))  # noqa: E731
    ours = engine(engine_criu)
    case = load(STATIC / "pidns_nested.c")
    case = replace(case, header=replace(case.header, restore=("--outer-pids",)))
    mode = Mode("outer", "outer", (look, steps.dump, steps.restore, look))
    run_case(case, FLAVOURS[flavour], mode, ours, ours, places(request.config.rootpath), label="outer")
    return seen


def test_all_have_the_same(engine_criu: Path, request: pytest.FixtureRequest) -> None:
    before, after = _run(engine_criu, request, "ns")
    assert before == after


def test_refused_in_user_namespaces(engine_criu: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(Refused, match="--outer-pids: pids outside of a tree's user namespace"):
        _run(engine_criu, request, "userns")
