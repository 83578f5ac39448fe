"""How an item of the matrix can fail: each kind says whose fault it is, and is shown without a traceback."""

from pathlib import Path
from typing import ClassVar


class CaseFailure(Exception):
    """Base of every failure that is an answer, not a bug of the harness; `details` go below the headline."""

    kind: ClassVar[str] = "failed"

    def __init__(self, what: str, details: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.details = details
        self.artefacts: Path | None = None  # where logs, images and the difference are

    def __str__(self) -> str:
        where = f"artefacts: {self.artefacts}" if self.artefacts else ""
        return "\n".join(filter(None, (f"{self.kind}: {self.what}", self.details, where)))


class BuildFailed(CaseFailure):
    """The compiler refused the case."""

    kind = "the case does not build"


class EngineFailed(CaseFailure):
    """The engine ended in an error, hung, or did not do what its status says."""

    kind = "the engine failed"


class CheckFailed(CaseFailure):
    """The test program itself found something wrong."""

    kind = "the test's own check failed"


class StateDiffers(CaseFailure):
    """What the kernel shows of the tree is not what it was before."""

    kind = "the state differs"


class LeftBehind(CaseFailure):
    """Something of the engine or the tree outlived them."""

    kind = "something is left behind"


class HarnessProblem(CaseFailure):
    """The harness could not set the case up, or lost it."""

    kind = "a problem of the harness"


class Refused(Exception):
    """The engine's preflight says that it cannot do this yet; `reasons` are its own words."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__(" | ".join(reasons))
        self.reasons = reasons


class Skipped(Exception):
    """The case cannot run here: a feature is missing, or the test program said so."""
