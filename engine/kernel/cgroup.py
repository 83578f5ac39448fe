"""Control groups (cgroups(7)): who is in which, and the files of a hierarchy.

A hierarchy is called by its controllers, as /proc/PID/cgroup has them: `cpu,cpuacct`, `name=systemd`; version 2 is "".
"""

from __future__ import annotations

import errno
import os
import time

from engine.errors import EngineError, KernelError
from engine.kernel import mounts, proc

UNIFIED = ""
_YARD_UNIFIED = "unified"  # the directory of version 2 in a --cgroup-yard
_DYING_S, _STEP_S = 3.0, 0.005  # s that a hierarchy may take to end, and between looks at it
_ENOTSUPP = 524  # of the kernel's own, which errno does not know


def member_file(name: str, thread: bool) -> str:
    """The file that a process, or a thread by itself, is moved by."""
    if thread:
        return "cgroup.threads" if name == UNIFIED else "tasks"
    return "cgroup.procs"


class Hierarchy:
    """The root directory of one, by a mount that is attached nowhere, or of a yard that somebody has made."""

    __slots__ = ("fd", "name")

    def __init__(self, name: str, yard: str = "") -> None:
        """One that the kernel has not yet is made. EngineError for controllers that are mounted otherwise."""
        self.name = name
        if yard:
            self.fd = _in_yard(name, yard)
            return
        deadline = time.monotonic() + _DYING_S
        while True:
            try:
                self.fd = _mount(name)
                return
            except KernelError as e:
                # one of that name is on its way out
                if e.errno == errno.EBUSY and name.startswith("name=") and time.monotonic() < deadline:
                    time.sleep(_STEP_S)
                    continue
                raise EngineError(
                    f"the cgroup hierarchy {self} cannot be mounted: {e}; --manage-cgroups=ignore does without"
                ) from e

    def __str__(self) -> str:
        return self.name or "of version 2"

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def open(self, path: str, name: str = "", flags: int = os.O_RDONLY) -> int:
        """A file of a cgroup, or its directory; OSError. Nothing leads out of the hierarchy."""
        whole = "/".join(part for part in (path.strip("/"), name) if part)
        return mounts.exact(self.fd, whole, flags)

    def read(self, path: str, name: str) -> str:
        """What a file of a cgroup says, without the newline at the end; OSError."""
        fd = self.open(path, name)
        try:
            parts = []
            while part := os.read(fd, 1 << 16):
                parts.append(part)
        finally:
            os.close(fd)
        return os.fsdecode(b"".join(parts)).rstrip("\n")

    def find(self, path: str, name: str) -> str | None:
        """The same; None where there is no such file, or this kernel does not say any more what it held."""
        try:
            return self.read(path, name)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EOPNOTSUPP, _ENOTSUPP, errno.ENODEV):
                return None
            raise

    def write(self, path: str, name: str, value: str) -> None:
        """Write to a file of a cgroup. EngineError says to which."""
        try:
            fd = self.open(path, name, os.O_WRONLY)
            try:
                os.write(fd, os.fsencode(value))
            finally:
                os.close(fd)
        except OSError as e:
            why = os.strerror(e.errno) if e.errno and e.errno != _ENOTSUPP else "the kernel does not support it"
            where = self.name or "version 2"
            raise EngineError(f"cgroup {where}:{path}: cannot write {value!r} to {name}: {why}") from e

    def children(self, path: str) -> list[str]:
        """The names of the cgroups right below one, sorted."""
        fd = self.open(path, "", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        finally:
            os.close(fd)

    def files(self, path: str) -> list[str]:
        """The names of its files."""
        fd = self.open(path, "", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def stat(self, path: str, name: str = "") -> os.stat_result:
        """Whose a cgroup, or a file of it, is; OSError."""
        fd = self.open(path, name, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        """Is there such a cgroup?"""
        try:
            os.close(self.open(path, "", os.O_PATH | os.O_DIRECTORY))
        except FileNotFoundError:
            return False
        return True

    def make(self, path: str) -> None:
        """A new cgroup in one that is there; OSError."""
        above, _, name = path.rstrip("/").rpartition("/")
        fd = self.open(above, "", os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
        finally:
            os.close(fd)

    def remove(self, path: str) -> None:
        """An empty cgroup; OSError."""
        above, _, name = path.rstrip("/").rpartition("/")
        fd = self.open(above, "", os.O_PATH | os.O_DIRECTORY)
        try:
            os.rmdir(name, dir_fd=fd)
        finally:
            os.close(fd)


def _mount(name: str) -> int:
    if name == UNIFIED:
        return mounts.make("cgroup2", "cgroup2", [])
    parts = name.split(",")
    only = [] if any(not part.startswith("name=") for part in parts) else ["none"]
    return mounts.make("cgroup", "cgroup", only + parts)


def forget(name: str) -> bool:
    """Let a named hierarchy end that has no cgroup left and is mounted nowhere; did it?

    It ends with its last mount, unless cgroups that have been removed are still on their way out then.
    """
    deadline = time.monotonic() + _DYING_S
    while name in proc.cgroups(proc.read_text("/proc/self/cgroup")):
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_S)
        try:
            os.close(_mount(name))
        except KernelError as e:
            if e.errno != errno.EBUSY:
                raise
    return True


def _in_yard(name: str, yard: str) -> int:
    """A hierarchy's directory: by all that its name says, or without `name=`."""
    names = [name or _YARD_UNIFIED]
    if name.startswith("name="):
        names.append(name[5:])
    for one in names:
        try:
            return os.open(f"{yard}/{one}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as e:
            raise EngineError(f"--cgroup-yard: {yard}/{one}: {e.strerror}") from e
    raise EngineError(f"--cgroup-yard {yard}: there is no {' or '.join(names)} in it: mount that hierarchy there")
