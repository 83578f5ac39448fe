"""The byte code of all modules in one file, `engine/_built/modules.bin`: importing takes a fifth less time with it.

The usual way looks for each module in several folders, opens its byte code, and reads it in small pieces. The file is
for the interpreter and the folders that it was written with; a module that is not in it, or whose source has changed
since, is imported the usual way.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    # offset and bytes of the code; is it a package; its source with mtime (ns) and size
    Entry = tuple[int, int, bool, str, int, int]

_LENGTH = 8  # bytes, before the head


class _Finder:
    """For sys.meta_path (importlib.abc.MetaPathFinder), and the loader of what it finds."""

    def __init__(self, file: int, base: int, index: dict[str, Entry]) -> None:
        self._inode = os.fstat(file).st_ino
        self._base = base
        self._index = index
        self._spec: Any = type(sys.__spec__)  # importlib.machinery.ModuleSpec, without importing that

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Of a module whose source is as it was."""
        entry = self._index.get(name)
        if entry is None:
            return None
        _, _, is_package, source, mtime, size = entry
        try:
            st = os.stat(source)
            code = self._read(entry) if (st.st_mtime_ns, st.st_size) == (mtime, size) else b""
        except OSError:  # out of sight: in another root
            return None
        if not code:
            return None
        spec = self._spec(name, self, origin=source, loader_state=code, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations.append(os.path.dirname(source))
        return spec

    def _read(self, entry: Entry) -> bytes:
        """Its code, empty if another file is there by now. None is kept open: its number may be one that users give."""
        fd = os.open(path(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, entry[1], self._base + entry[0]) if os.fstat(fd).st_ino == self._inode else b""
        finally:
            os.close(fd)

    def create_module(self, spec: Any) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        spec: Any = module.__spec__
        code, spec.loader_state = spec.loader_state, None
        exec(marshal.loads(code), module.__dict__)


def path() -> str:
    """Where the file is."""
    return os.path.join(os.path.dirname(__file__), "_built", "modules.bin")


def use() -> None:
    """Import from the file what it has. Nothing where there is none, or one for another interpreter."""
    try:
        fd = os.open(path(), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        length = int.from_bytes(os.read(fd, _LENGTH), "little")
        head = os.read(fd, length)
        if len(head) == length > 0:
            version, folders, index = marshal.loads(head)
            if (version, folders) == (sys.version, sys.path):
                sys.meta_path.insert(0, _Finder(fd, _LENGTH + length, index))
    finally:
        os.close(fd)


def write() -> None:
    """Write the file, of all modules of the engine and what else these have imported; by the interpreter to use it."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import find_spec

    from engine.images.schema import Schema

    Schema()
    index: dict[str, Entry] = {}
    code = bytearray()
    for name in sorted({*sys.modules, *_own()} - {"__main__"}):
        spec = find_spec(name)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or not spec.origin:
            continue
        st = os.stat(spec.origin)
        data = marshal.dumps(spec.loader.source_to_code(spec.loader.get_data(spec.origin), spec.origin))
        is_package = spec.submodule_search_locations is not None
        index[name] = len(code), len(data), is_package, spec.origin, st.st_mtime_ns, st.st_size
        code += data
    head = marshal.dumps((sys.version, sys.path, index))
    new = f"{path()}.new"
    with open(new, "wb") as file:
        file.write(len(head).to_bytes(_LENGTH, "little") + head + code)
    os.replace(new, path())


def _own() -> list[str]:
    """The names of all modules of the engine."""
    top = os.path.dirname(__file__)
    out = []
    for folder, _, files in os.walk(top):
        package = os.path.relpath(folder, os.path.dirname(top)).replace(os.sep, ".")
        if "__init__.py" in files:
            out += [package, *(f"{package}.{f[:-3]}" for f in files if f.endswith(".py") and f != "__init__.py")]
    return out
