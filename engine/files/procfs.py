"""Files of procfs and sysfs (proc(5), sysfs(5)): which of them are a task's, and so exist only when that task does.

Of a task that has ended procfs has nothing any more, but what was open stays so. To open it again a helper has the
task's pid for a while (remap_type PROCFS).
"""

from __future__ import annotations

from engine.errors import Unsupported
from engine.files.fd import DELETED, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from engine.files.scope import Scope

ROOT = "/proc/"
_PSEUDO = (ROOT, "/sys/")
_INIT = 1
# What a helper has others of than the task had, or none at all.
_ITS_OWN = ("fd", "fdinfo", "map_files", "ns", "root", "cwd", "exe")


def is_pseudo(name: str) -> bool:
    """Is the file made of what the kernel knows at the time? Its size and contents say nothing then."""
    return name.startswith(_PSEUDO)


def task_of(name: str) -> int:
    """The pid in whose directory of procfs a name is; 0 for every other name."""
    if not name.startswith(ROOT):
        return 0
    first = name[len(ROOT) :].partition("/")[0].removesuffix(DELETED)
    return int(first) if first.isdecimal() else 0


def find(pid: int, name: str, st: os.stat_result, what: object, scope: Scope) -> tuple[bool, str]:
    """Has the task ended whose file pid's link `name` is? With the name in procfs that it had."""
    plain = name.removesuffix(DELETED)
    if scope.has_mounts and (space := scope.procfs_of(pid)):
        raise Unsupported([f"{what}: {shown(name)}: it is of the procfs of {space}, and of a task: close it first"])
    try:
        here = scope.stat(pid, plain, False)
    except ProcessLookupError:
        here = None
    if here is not None and (here.st_dev, here.st_ino) == (st.st_dev, st.st_ino):
        return False, plain
    if here is not None and here.st_dev != st.st_dev:
        raise Unsupported([f"{what}: {shown(name)}: it is of another procfs than is mounted there; close it first"])
    parts = plain[len(ROOT) :].split("/")
    if len(parts) > 1 and (parts[1] in _ITS_OWN or (parts[1] == "task" and parts[2:3] not in ([], parts[:1]))):
        raise Unsupported([f"{what}: it is of a task that has ended, and gone with it; close it before the dump"])
    return True, plain


def outside(what: str, pid: int, ended: bool, pids: set[int]) -> str:
    """What is wrong with a file of task `pid`; "" for nothing. `pids` are the tree's, threads included.

    The host's first process is always there.
    """
    if ended:
        if pid in pids:
            return (
                f"{what}: it is of a task or thread that has ended, and its pid is another's; close it before the dump"
            )
        return ""
    if pid in pids or pid == _INIT:
        return ""
    return f"{what}: pid {pid} is outside of the tree: dump both together, or close it before the dump"
