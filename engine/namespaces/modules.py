"""Modules of the engine, imported where the engine's own files are out of sight, or nobody may walk to them any more.

The directories of its packages are opened while they are within reach; what is imported afterwards is read by these.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

_PACKAGE = "engine"


class _Loader(SourceFileLoader):
    """Reads source and byte code below directories that are open."""

    def __init__(self, fullname: str, path: str, directory: int, top: str) -> None:
        super().__init__(fullname, path)
        self._directory = directory
        self._top = top

    def get_data(self, path: Any) -> bytes:
        """The whole file."""
        fd = os.open(os.path.relpath(path, self._top), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        with open(fd, "rb") as f:
            return f.read()

    def path_stats(self, path: Any) -> dict[str, Any]:
        """What byte code is compared with."""
        st = os.stat(os.path.relpath(path, self._top), dir_fd=self._directory)
        return {"mtime": st.st_mtime, "size": st.st_size}

    def set_data(self, path: Any, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written."""


class _Finder:
    """For sys.meta_path."""

    def __init__(self) -> None:
        top = os.path.dirname(os.path.abspath(sys.modules[_PACKAGE].__file__ or ""))
        self._packages: dict[str, tuple[int, str]] = {}
        for name in ("", *os.listdir(top)):
            path = os.path.join(top, name)
            if os.path.exists(os.path.join(path, "__init__.py")):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._packages[f"{_PACKAGE}.{name}".rstrip(".")] = fd, path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """importlib.abc.MetaPathFinder."""
        package, _, name = fullname.rpartition(".")
        if fullname in self._packages:
            package, name = fullname, "__init__"
        elif package not in self._packages:
            return None
        fd, directory = self._packages[package]
        file = os.path.join(directory, f"{name}.py")
        try:
            os.stat(f"{name}.py", dir_fd=fd)
        except FileNotFoundError:
            return None
        locations = [directory] if name == "__init__" else None
        loader = _Loader(fullname, file, fd, directory)
        return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=locations)


def keep() -> None:
    """From now on modules of the engine come from its directories as they are open now."""
    sys.meta_path.insert(0, _Finder())
