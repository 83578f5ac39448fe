"""How an item is checkpointed. A later mode (pre-dump, page server, lazy, RPC, faults) is one more row here."""

from collections.abc import Callable
from dataclasses import dataclass

from zdtm import steps
from zdtm.run import Run


@dataclass(frozen=True)
class Mode:
    """One row: what is done in each round, between the looks at the tree before and after."""

    name: str
    title: str
    round: tuple[Callable[[Run], None], ...]


MODES = {
    mode.name: mode
    for mode in (
        Mode("plain", "dump, and restore", (steps.dump, steps.restore)),
        Mode("norestore", "dump, and leave running", (steps.dump_leave_running,)),
        Mode("nocr", "no checkpoint: is the test itself right?", ()),
    )
}
