"""Files of procfs and sysfs (proc(5), sysfs(5)): which of them are a task's, and so exist only when that task does."""

from __future__ import annotations

import os

from engine.errors import Unsupported
from engine.files.fd import Descriptor

_PROC = "/proc/"
_PSEUDO = (_PROC, "/sys/")


def is_pseudo(name: str) -> bool:
    """Is the file made of what the kernel knows at the time? Its size and contents say nothing then."""
    return name.startswith(_PSEUDO)


def task_of(name: str) -> int:
    """The pid in whose directory of procfs a name is; 0 for every other name."""
    if not name.startswith(_PROC):
        return 0
    first = name[len(_PROC) :].partition("/")[0]
    return int(first) if first.isdecimal() else 0


def check(d: Descriptor) -> None:
    """Unsupported for the file of a task that has ended: its name leads nowhere, or to another task's."""
    try:
        here = os.stat(d.link)
        lives = (here.st_dev, here.st_ino) == (d.stat.st_dev, d.stat.st_ino)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        lives = False
    if not lives:
        raise Unsupported([f"{d}: it is of a task that has ended: not supported yet; close it before the dump"])


def outside(d: Descriptor, pids: set[int]) -> str:
    """What is wrong with the file of a task that is not among the tree's; "" if it is. `pids` include threads."""
    pid = task_of(d.link)
    if pid in pids:
        return ""
    return f"{d}: pid {pid} is outside of the tree: dump both together, or close it before the dump"
