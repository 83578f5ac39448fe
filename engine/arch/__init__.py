"""What differs by architecture on the Python side: one module an architecture, one row here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def this_machine() -> ModuleType:
    """The module of the architecture we run on; ImportError names one that nobody has written yet."""
    name = os.uname().machine
    if name == "x86_64":
        from engine.arch import x86_64

        return x86_64
    raise ImportError(f"architecture {name} is not supported")
