"""Names of objects by inode, found by searching directories (irmap): for watches that no file handle tells the name of.

Directories that are watched more often than others, and those of --irmap-scan-path. An inode number proves nothing, as
file systems may tell other devices by stat(2) than they have: what is found is watched for a moment, and compared.
"""

from __future__ import annotations

import os

from engine.errors import KernelError
from engine.kernel import events, proc
from engine.kernel.namespaces import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.files.scope import Scope

# Below the first nothing is looked for but its entries.
_USUAL = ("/", "/etc", "/var/spool", "/lib/udev", "/usr/lib/udev")
_IN_ALL_EVENTS = 0xFFF


def find(scope: Scope, pid: int, dev: int, ino: int) -> str | None:
    """The name, in the mount namespace of `pid`, of the inode of a number and of the kernel's device; None for none."""
    root = scope.root(pid)
    if root not in scope.irmap:
        scope.irmap[root] = _search(root, scope.options.irmap_scan_path)
    for name in scope.irmap[root].get(ino, []):
        if _is_it(root, name, dev, ino):
            return name
    return None


def _search(root: int | None, paths: list[str]) -> dict[int, list[str]]:
    """The names of all that is there, by inode number."""
    out: dict[int, list[str]] = {}
    for base in (*paths, *_USUAL):
        try:
            fd = _open(root, base, os.O_PATH | os.O_DIRECTORY)
        except OSError:  # not every system has all of them; of one that was asked for the log tells
            continue
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
            out.setdefault(os.fstat(fd).st_ino, []).append(real)
            _walk(f"/proc/self/fd/{fd}", real.rstrip("/"), base != "/", out)
        finally:
            os.close(fd)
    return out


def _walk(where: str, name: str, deep: bool, out: dict[int, list[str]]) -> None:
    todo = [("", deep)]
    while todo:
        below, deeper = todo.pop()
        try:
            entries = list(os.scandir(where + below))
        except OSError:  # it has gone, or is not for us to read: nothing is found in it
            continue
        for entry in entries:
            path = f"{below}/{entry.name}"
            out.setdefault(entry.inode(), []).append(name + path)
            if deeper and entry.is_dir(follow_symlinks=False):
                todo.append((path, True))


def _is_it(root: int | None, name: str, dev: int, ino: int) -> bool:
    try:
        found = _open(root, name, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        watch = events.inotify()
        try:
            events.inotify_watch(watch, f"/proc/self/fd/{found}", _IN_ALL_EVENTS)
            line = proc.fdinfo_lines(os.getpid(), watch, "inotify ")[0]
        finally:
            os.close(watch)
    except KernelError:
        return False
    finally:
        os.close(found)
    return (int(line["sdev"], 16), int(line["ino"], 16)) == (dev, ino)


def _open(root: int | None, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC) if root is None else open_in(root, name, flags)
