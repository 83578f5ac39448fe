"""Images both ways: the peer restores what we dumped, and we restore what the peer dumped.

As root: CRIU reads a task's limits from outside, which takes CAP_SYS_RESOURCE for another user's; but in user
namespaces, where it has that.
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
from zdtm.skips import read
from zdtm.tests import peer_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.mark import ParameterSet

ZDTM = Path(__file__).parents[1]
CASES = {p.stem: load(p) for kind in ("static", "transition") for p in sorted((ZDTM / kind).glob("*.c"))}
# What is expected to fail gets less time to do better: for a state to settle, and for an engine that hangs.
SETTLE, TIMEOUT = 0.2, 5  # seconds


def crossed(flavours: Mapping[str, Mapping[str, str]], left_out: Mapping[str, str]) -> list[ParameterSet]:
    """The cases of each flavour that an engine restores; those in a flavour's limits have to fail."""
    found = []
    for name, case in CASES.items():
        if case.header.flags & {"noauto", "crfail"} or name in left_out:
            continue
        # Most of what there is to see is the same inside; what is only there is crossed there.
        for flavour in {"host"} & {*case.header.flavours} or case.header.flavours:
            limits = flavours[flavour]
            marks = []
            if name in limits:
                strict = name not in peer_limits.SOMETIMES
                marks.append(pytest.mark.xfail(strict=strict, raises=CaseFailure, reason=limits[name]))
            ident = name if flavour == "host" else f"{name}-{flavour}"
            found.append(pytest.param(name, flavour, marks=marks, id=ident))
    return found


def refused() -> list[ParameterSet]:
    """The cases that our engine refuses somewhere, in the flavours where a skip would hide a wrong test."""
    items = {tuple(node.split("::")[:2]) for node in read(ZDTM / "expected-skips.txt")}
    return [
        pytest.param(name, flavour, id=f"{name}-{flavour}")
        for name, case in CASES.items()
        for flavour in case.header.flavours
        if any(path.endswith(f"/{name}.c") and flavour == its for path, its in items)
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
            as_root=mode == "plain" and flavour != "userns",
            label=label,
        )
    except (Refused, Skipped) as reason:
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a difference is expected."""
    if request.node.get_closest_marker("xfail"):
        monkeypatch.setattr("zdtm.run.SETTLE", SETTLE)


@pytest.mark.parametrize(("name", "flavour"), crossed(peer_limits.TO_PEER, peer_limits.NOT_AS_ROOT))
def test_peer_restores_ours(
    name: str, flavour: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest
) -> None:
    run(name, engine_criu, peer_criu, request, "to-peer", flavour)


@pytest.mark.parametrize(("name", "flavour"), crossed(peer_limits.FROM_PEER, peer_limits.NOT_AS_ROOT))
def test_we_restore_the_peers(
    name: str, flavour: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest
) -> None:
    run(name, peer_criu, engine_criu, request, "from-peer", flavour)


if REFUSED := refused():

    @pytest.mark.parametrize(("name", "flavour"), REFUSED)
    def test_case_itself_is_right(name: str, flavour: str, engine_criu: Path, request: pytest.FixtureRequest) -> None:
        """Without a checkpoint."""
        run(name, engine_criu, engine_criu, request, "nocr", flavour, "nocr")


@pytest.mark.parametrize("table", [*peer_limits.ALL])
def test_limits_name_cases(table: str) -> None:
    """A case that was renamed would be crossed without its entry, which nobody would miss."""
    assert set(peer_limits.ALL[table]) <= set(CASES)
