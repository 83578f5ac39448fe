"""Images both ways: the peer restores what we dumped, and we restore what the peer dumped.

On the host flavour, as root: CRIU reads a task's limits from outside, which takes CAP_SYS_RESOURCE for another user's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from zdtm.cases import load
from zdtm.engine import engine
from zdtm.flavours import FLAVOURS
from zdtm.modes import MODES
from zdtm.places import places
from zdtm.run import run_case

ZDTM = Path(__file__).parents[1]
CASES = {p.stem: p for kind in ("static", "transition") for p in sorted((ZDTM / kind).glob("*.c"))}

# What the peer's part of the work loses, so that these cases cannot pass with it on either side.
PEER_CANNOT = {
    "file_cloexec": "restores a directory's descriptor without O_DIRECTORY in its flags",
    "cwd02": "restores a directory's descriptor without O_DIRECTORY in its flags",
    "sleep_futex": "lets a relative wait return EINTR",
    "sleep_nanosleep": "lets a relative sleep return EINTR",
    "sleep_poll": "lets poll return EINTR",
}
# It drops its user id: here the peer cannot read its limits then.
PEER_CANNOT_DUMP = ("pid00",)
BOTH = [name for name in CASES if name not in PEER_CANNOT]


def run(
    name: str,
    dump: Path,
    restore: Path,
    request: pytest.FixtureRequest,
    label: str,
    flavour: str = "host",
    mode: str = "plain",
) -> None:
    run_case(
        load(CASES[name]),
        FLAVOURS[flavour],
        MODES[mode],
        engine(dump),
        engine(restore),
        places(request.config.rootpath),
        as_root=flavour == "host",
        label=label,
    )


@pytest.mark.parametrize("name", BOTH)
def test_peer_restores_ours(name: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    run(name, engine_criu, peer_criu, request, "to-peer")


@pytest.mark.parametrize("name", [*(n for n in BOTH if n not in PEER_CANNOT_DUMP), "cwd02", "file_cloexec"])
def test_we_restore_the_peers(name: str, engine_criu: Path, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    run(name, peer_criu, engine_criu, request, "from-peer")


@pytest.mark.parametrize("name", BOTH)
def test_peer_in_userns(name: str, peer_criu: Path, request: pytest.FixtureRequest) -> None:
    """What our engine cannot do yet, namespaces, is proven right by one that can: flavour, case and comparison."""
    run(name, peer_criu, peer_criu, request, "peer", "userns")


@pytest.mark.parametrize("flavour", ["ns", "userns"])
@pytest.mark.parametrize("name", CASES)
def test_case_itself_is_right(name: str, flavour: str, engine_criu: Path, request: pytest.FixtureRequest) -> None:
    """Without a checkpoint, in the flavours in which a skip would hide a wrong test."""
    run(name, engine_criu, engine_criu, request, "nocr", flavour, "nocr")
