"""What a case needs done on its outside: NAME.hook.py beside NAME.c.

A hook is a Python file with any of these functions, each called with an Outside:

    prepare(o)          the test wants it (test_outside), and waits
    ready(o)            the test is ready; nothing has been looked at yet
    dump_options(o)     a list: what else the dump is given
    dumped(o)           the tree is gone, its images are there
    restore_options(o)  a list: what else the restore is given
    restored(o)         it runs again
    clean(o)            at the end, however that came; what `ready` and `dumped` have made goes

Of hooks with the same `ALONE`, the path of a file, one item runs at a time.

A failed assert is a failure of the case. Names of things on the machine hold `o.tag`: items run side by side.
"""

from __future__ import annotations

import difflib
import fcntl
import importlib.util
import json
import subprocess
import sys
import zlib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zdtm.failures import CheckFailed, HarnessProblem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_GIVE = """
import os, sys
from engine.kernel import mounts, namespaces
source, space, inside = sys.argv[1:]
mount = mounts.clone(os.open(source, os.O_PATH))
namespaces.setns(os.open(space, os.O_RDONLY), namespaces.FLAGS["mnt"])
mounts.attach(mount, os.open(inside, os.O_PATH | os.O_NOFOLLOW))
"""
FUNCTIONS = ("prepare", "ready", "dump_options", "dumped", "restore_options", "restored", "clean")


@dataclass
class Outside:
    """What a hook knows of its item. It may keep what it likes in `kept`."""

    directory: Path
    pid: int  # of the tree's root task, as the harness sees it
    kept: dict[str, Any]

    @property
    def tag(self) -> str:
        """Six letters of this item alone."""
        return f"{zlib.crc32(str(self.directory).encode()) & 0xFFFFFF:06x}"

    def host(self, *command: str) -> str:
        """Run a command on the machine; its output. What fails is the harness's problem."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise HarnessProblem(f"{' '.join(command)}: status {done.returncode}", done.stderr)
        return done.stdout

    def inside(self, *command: str) -> str:
        """The same, with the machine's tools in the tree's network namespace."""
        return self.host("nsenter", f"--net=/proc/{self.pid}/ns/net", *command)

    def give(self, source: Path | str, inside: str) -> None:
        """Mount what is mounted on the machine, with all its sharing, on a path of the tree's own mount namespace."""
        self.host(sys.executable, "-c", _GIVE, str(source), f"/proc/{self.pid}/ns/mnt", inside)

    def same(self, before: object, after: object) -> None:
        """CheckFailed with the lines that differ, unless none does."""
        if before != after:
            texts = [x if isinstance(x, str) else json.dumps(x, indent=1) for x in (before, after)]
            lines = difflib.unified_diff(*(text.splitlines() for text in texts), "before", "after", lineterm="", n=0)
            raise CheckFailed("the outside looks different after the restore", "\n".join(lines))


class Hook:
    """The hook of one item; without a file it does nothing."""

    def __init__(self, case: Path, directory: Path) -> None:
        self._module: ModuleType | None = None
        self._outside = Outside(directory, 0, {})
        path = case.with_suffix(".hook.py")
        if path.exists():
            spec = importlib.util.spec_from_file_location(f"hook_{case.stem}", path)
            assert spec and spec.loader
            self._module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self._module)

    @contextmanager
    def alone(self, together: str = "") -> Iterator[None]:
        """While the item runs none runs whose hook names the same path in `ALONE`: there is only one of something.

        Nor one whose hook names `together`, which any number of others may have in common.
        """
        path = getattr(self._module, "ALONE", None)
        with open(path) if path else nullcontext() as lock, open(together) if together else nullcontext() as other:
            if lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
            if other and together != path:
                fcntl.flock(other, fcntl.LOCK_SH)
            yield

    def call(self, name: str, pid: int = 0) -> Any:
        """Call a function of it, if it has that."""
        function = getattr(self._module, name, None)
        if function is None:
            return None
        self._outside.pid = pid or self._outside.pid
        try:
            return function(self._outside)
        except AssertionError as e:
            raise CheckFailed(f"{name} of the hook: {e}") from e
