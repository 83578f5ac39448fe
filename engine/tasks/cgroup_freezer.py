"""--freeze-cgroup: a cgroup whose freezer stops the whole tree at once, before its threads are seized one by one.

Version 1 (`freezer.state`, Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst) and version 2 (`cgroup.freeze`,
cgroups(7)). Who is frozen cannot stop for ptrace(2), so it is thawed again when all are seized and asked to stop; then
none of them runs on. At the end the cgroup is left as it was found. Should the engine be killed while the cgroup is
frozen, a process that watches it thaws it.
"""

from __future__ import annotations

import os
import time

from engine.errors import BadOption, EngineError
from engine.kernel import cgroup, proc, process

_V1, _V2, _V2_EVENTS = "freezer.state", "cgroup.freeze", "cgroup.events"
_FROZEN, _THAWED, _PARENT = "FROZEN", "THAWED", "freezer.parent_freezing"
_STEP = 0.0005  # s between looks at it
_DONE = b"d"


class Freezer:
    """One cgroup; `was_frozen` when it was met."""

    __slots__ = ("_at", "_file", "_ident", "_path", "_watched", "_words", "was_frozen")

    def __init__(self, path: str) -> None:
        self._path = path
        self._watched = (0, 0)  # the watcher, and the pipe that keeps it waiting
        try:
            self._at = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise BadOption(f"--freeze-cgroup {path}: {e.strerror}") from e
        st = os.fstat(self._at)
        self._ident = st.st_dev, st.st_ino
        names = os.listdir(self._at)
        if _V1 in names:
            self._file, self._words = _V1, (_THAWED, _FROZEN)
            above, self.was_frozen = self._read(_PARENT) == "1", self._read("freezer.self_freezing") == "1"
        elif _V2 in names:
            self._file, self._words = _V2, ("0", "1")
            self.was_frozen = self._read(_V2) == "1"
            above = not self.was_frozen and self._is_frozen()
        else:
            os.close(self._at)
            raise BadOption(
                f"--freeze-cgroup {path}: it has neither {_V1} nor {_V2}: a cgroup with a freezer, not the root of all"
            )
        if above:
            os.close(self._at)
            raise EngineError(f"--freeze-cgroup {path}: one above it is frozen: thaw that, or give that one")
        if self._has_engine():
            os.close(self._at)
            raise EngineError(f"--freeze-cgroup {path}: the engine is in it: run it in another cgroup")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._at)

    def is_of(self, st: os.stat_result) -> bool:
        """Is that its directory?"""
        return (st.st_dev, st.st_ino) == self._ident

    def freeze(self, timeout_us: int) -> None:
        """Stop all that is in it. EngineError if that takes too long."""
        self._watch()
        self._write(True)
        deadline = time.monotonic() + timeout_us / 1_000_000
        while not self._is_frozen():
            if time.monotonic() > deadline:
                raise EngineError(f"--freeze-cgroup {self._path}: it does not freeze within --timeout")
            time.sleep(_STEP)

    def thaw(self) -> None:
        """Let them run, but those who are stopped otherwise."""
        self._write(False)

    def settle(self) -> None:
        """As it was found."""
        self._write(self.was_frozen)
        pid, pipe = self._watched
        self._watched = (0, 0)
        if pid:
            os.write(pipe, _DONE)
            os.close(pipe)
            process.wait_exit(pid)

    def _has_engine(self) -> bool:
        """Is the engine in it, or below? It would stop itself."""
        for name, path in proc.cgroups(proc.read_text("/proc/self/cgroup")).items():
            if name.split(",").count("freezer") if self._file == _V1 else name == cgroup.UNIFIED:
                hierarchy = cgroup.Hierarchy(name)
                try:
                    while path.strip("/"):
                        if self.is_of(hierarchy.stat(path)):
                            return True
                        path = path.rpartition("/")[0]
                finally:
                    hierarchy.close()
        return False

    def _watch(self) -> None:
        """A process that puts the cgroup back to what it was, should we end before we have done so."""
        if self._watched[0]:
            return
        theirs, ours = os.pipe()
        pid = os.fork()
        if pid:
            os.close(theirs)
            self._watched = pid, ours
            return
        status = 1
        try:
            os.setsid()  # who kills our process group does not kill it
            os.close(ours)
            if os.read(theirs, 1) != _DONE:
                self._write(self.was_frozen)
            status = 0
        finally:
            os._exit(status)

    def _is_frozen(self) -> bool:
        if self._file == _V1:
            return self._read(_V1) == _FROZEN
        return "frozen 1" in self._read(_V2_EVENTS).splitlines()

    def _read(self, name: str) -> str:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._at)
        try:
            return os.read(fd, 4096).decode().strip()
        finally:
            os.close(fd)

    def _write(self, frozen: bool) -> None:
        try:
            proc.write_text(self._file, self._words[frozen], self._at)
        except OSError as e:
            raise EngineError(f"--freeze-cgroup {self._path}: cannot write {self._file}: {e.strerror}") from e
