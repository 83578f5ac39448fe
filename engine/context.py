"""What a run of the engine carries along: options, log, image schema, architecture. There is no module state."""

from __future__ import annotations

import os

from engine.arch import this_machine
from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel import pagemap
from engine.kernel.ptrace import XstateLayout
from engine.log import Log
from engine.options import Options
from engine.plan.program import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def built() -> str:
    """The directory of what the package build has made: blobs and descriptors."""
    return os.path.join(os.path.dirname(__file__), "_built")


class Context:
    """Made once by the command line (or a request), passed to every step."""

    __slots__ = ("arch", "log", "machine", "options", "schema", "xstate")

    def __init__(self, options: Options, log: Log) -> None:
        self.options = options
        self.log = log
        self.schema = Schema()
        self.arch: ModuleType = this_machine()
        self.machine = Machine(built(), self.arch.NAME)
        self.xstate = XstateLayout()

    def images(self) -> Images:
        """The images directory of --images-dir."""
        return Images.open(self.schema, self.options.images_dir, pagemap)
