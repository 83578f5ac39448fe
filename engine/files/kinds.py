"""The kinds of file objects, in the order in which they are tried. Each module has both halves, dump and restore."""

from __future__ import annotations

from engine.errors import Unsupported
from engine.files import pipe, regular, signalfd
from engine.files.fd import Descriptor, may_be_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

KINDS = (regular, pipe, signalfd)
MEMFD = 18  # fd_types of engine/files/memfd.py, which few trees need


def kind_of(d: Descriptor) -> ModuleType:
    """The module that can dump a descriptor; Unsupported says what it is when none can."""
    if may_be_memfd(d.link):
        from engine.files import memfd

        if memfd.is_kind(d):
            return memfd
    for kind in KINDS:
        if kind.is_kind(d):
            return kind
    raise Unsupported([f"{d}: this kind of file is not supported yet; close it before the dump"])


def by_type(number: int) -> ModuleType | None:
    """The module that restores file_entry.type `number`."""
    if number == MEMFD:
        from engine.files import memfd

        return memfd
    return next((k for k in KINDS if number == k.TYPE), None)
