"""Options about mounts that a case cannot show, because its mounts are to be the same afterwards."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.failures import CheckFailed, Refused
from zdtm.flavours import FLAVOURS
from zdtm.modes import Mode
from zdtm.observe import mounts
from zdtm.places import places
from zdtm.run import run_case

if TYPE_CHECKING:
    from zdtm.run import Run

STATIC = Path(__file__).parents[1] / "static"


def restored(
    request: pytest.FixtureRequest, criu: Path, name: str, dump: tuple[str, ...], restore: tuple[str, ...] = ()
) -> set[str]:
    """The mount points of a case's tree that was dumped and restored with these options instead of its own."""
    points: set[str] = set()

    def look(run: Run) -> None:
        steps.restore(run)
        points.update(mounts.points(run.tree.root_pid).values())
        raise CheckFailed("that was all")

    case = load(STATIC / f"{name}.c")
    case = replace(case, header=replace(case.header, opts=(), dump=dump, restore=restore, timeout=10))
    mode = Mode("options", "", (steps.dump, look))
    with suppress(CheckFailed):
        run_case(
            case, FLAVOURS["ns"], mode, engine(criu), engine(criu), places(request.config.rootpath), label="options"
        )
    return points


def test_what_is_skipped_is_gone_with_all_below_it(engine_criu: Path, request: pytest.FixtureRequest) -> None:
    skip, compat = ("--skip-mnt", "/scratch/deep/below"), ("--mntns-compat-mode",)
    external = ("--external", "mnt[/scratch/up]:VOLUME")
    points = restored(request, engine_criu, "mnt_ext_root", (*skip, *compat, *external), compat)
    assert points == {"/", "/proc", "/scratch/deep", "/scratch/up"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mnt_ext_auto", "shares with mounts outside of the tree (group N): use --enable-external-sharing"),
        ("mnt_ext_master", "is a slave of mounts outside of the tree (group N): use --enable-external-masters"),
        ("mnt_enablefs", "bpf cannot be dumped"),
    ],
)
def test_what_an_option_would_permit_is_refused(
    name: str, why: str, engine_criu: Path, request: pytest.FixtureRequest
) -> None:
    import re

    with pytest.raises(Refused) as refused:
        restored(request, engine_criu, name, ())
    said = re.sub(r"group \d+", "group N", " | ".join(refused.value.reasons))
    assert why in said
