"""`dump --leave-running` of tasks in pid namespaces: they are cloned, their memory is that of the freeze."""

from __future__ import annotations

from pathlib import Path

import pytest

from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.flavours import FLAVOURS
from zdtm.modes import Mode
from zdtm.places import places
from zdtm.run import Run, run_case

STATIC = Path(__file__).parents[1] / "static"


@pytest.mark.parametrize("flavour", ["ns", "userns"])
def test_tasks_are_cloned(engine_criu: Path, request: pytest.FixtureRequest, flavour: str) -> None:
    """The tree runs on, and ends well: nobody has seen a child."""

    def cloned(run: Run) -> None:
        said = (run.work / "dump.log").read_text()
        assert said.count("its memory is copied later, from its clone") == 2, said

    ours = engine(engine_criu)
    mode = Mode("live", "live", (steps.dump_leave_running, cloned))
    case, where = load(STATIC / "pidns_memory.c"), places(request.config.rootpath)
    run_case(case, FLAVOURS[flavour], mode, ours, ours, where, label="live")
