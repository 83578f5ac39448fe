"""Images both ways: the peer restores what we dumped, and we restore what the peer dumped.

On the host flavour, as root: CRIU reads a task's limits from outside, which takes CAP_SYS_RESOURCE for another user's.
What the peer cannot do is in peer_limits.py, and runs all the same: when the peer can after all, that is a failure.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zdtm.cases import load
from zdtm.engine import engine
from zdtm.failures import CaseFailure, Refused, Skipped
from zdtm.flavours import FLAVOURS
from zdtm.modes import MODES
from zdtm.places import places
from zdtm.run import run_case
from zdtm.tests import peer_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.mark import ParameterSet

ZDTM = Path(__file__).parents[1]
CASES = {p.stem: load(p) for kind in ("static", "transition") for p in sorted((ZDTM / kind).glob("*.c"))}
# What is expected to fail gets less time to do better: for a state to settle, and for an engine that hangs.
SETTLE, TIMEOUT = 0.2, 5  # seconds


def crossed(flavour: str, limits: Mapping[str, str], left_out: Mapping[str, str]) -> list[ParameterSet]:
    """The cases of a flavour that an engine restores; those in `limits` have to fail."""
    found = []
    for name, case in CASES.items():
        if flavour not in case.header.flavours or case.header.flags & {"noauto", "crfail"} or name in left_out:
            continue
        marks = []
        if name in limits:
            strict = name not in peer_limits.SOMETIMES
            marks.append(pytest.mark.xfail(strict=strict, raises=CaseFailure, reason=limits[name]))
        found.append(pytest.param(name, marks=marks, id=name))
    return found


def namespaced() -> list[ParameterSet]:
    """Every case with each of its flavours that have namespaces."""
    return [
        pytest.param(name, flavour, id=f"{name}-{flavour}")
        for name, case in CASES.items()
        for flavour in case.header.flavours
        if FLAVOURS[flavour].namespaces and "noauto" not in case.header.flags
    ]


def run(
    name: str, dump: Path, restore: Path, request: pytest.FixtureRequest, label: str, flavour: str, mode: str = "plain"
) -> None:
    case = CASES[name]
    if request.node.get_closest_marker("xfail"):
        case = replace(case, header=replace(case.header, timeout=min(case.header.timeout, TIMEOUT)))
    try:
        run_case(
            case,
            FLAVOURS[flavour],
            MODES[mode],
            engine(dump),
            engine(restore),
            places(request.config.rootpath),
            as_root=flavour == "host",
            label=label,
        )
    except (Refused, Skipped) as reason:
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a difference is expected."""
    if request.node.get_closest_marker("xfail"):
        monkeypatch.setattr("zdtm.run.SETTLE", SETTLE)


@pytest.mark.parametrize("name", crossed("host", peer_limits.TO_PEER, peer_limits.NOT_AS_ROOT))
def test_peer_restores_ours(name: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    run(name, engine_criu, peer_criu, request, "to-peer", "host")


@pytest.mark.parametrize("name", crossed("host", peer_limits.FROM_PEER, peer_limits.NOT_AS_ROOT))
def test_we_restore_the_peers(name: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    run(name, peer_criu, engine_criu, request, "from-peer", "host")


@pytest.mark.parametrize("name", crossed("userns", peer_limits.USERNS, {}))
def test_peer_in_userns(name: str, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    """What our engine cannot do yet, namespaces, is proven right by one that can: flavour, case and comparison."""
    run(name, peer_criu, peer_criu, request, "peer", "userns")


@pytest.mark.parametrize(("name", "flavour"), namespaced())
def test_case_itself_is_right(name: str, flavour: str, engine_criu: Path, request: pytest.FixtureRequest) -> None:
    """Without a checkpoint, in the flavours in which a skip would hide a wrong test."""
    run(name, engine_criu, engine_criu, request, "nocr", flavour, "nocr")


@pytest.mark.parametrize("table", ["NOT_AS_ROOT", "TO_PEER", "FROM_PEER", "USERNS", "SOMETIMES"])
def test_limits_name_cases(table: str) -> None:
    """A case that was renamed would be crossed without its entry, which nobody would miss."""
    assert set(getattr(peer_limits, table)) <= set(CASES)
