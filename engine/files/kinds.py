"""The kinds of file objects, in the order in which they are tried. Each module has both halves, dump and restore."""

from __future__ import annotations

from engine.errors import Unsupported
from engine.files import pipe, regular, signalfd
from engine.files.fd import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

KINDS = (regular, pipe, signalfd)


def kind_of(d: Descriptor) -> ModuleType:
    """The module that can dump a descriptor; Unsupported says what it is when none can."""
    for kind in KINDS:
        if kind.is_kind(d):
            return kind
    raise Unsupported([f"{d}: this kind of file is not supported yet; close it before the dump"])


def by_type(number: int) -> ModuleType | None:
    """The module that restores file_entry.type `number`."""
    return next((k for k in KINDS if number == k.TYPE), None)
