"""overlayfs (Documentation/filesystems/overlayfs.rst): made from its layers, which are directories of the tree.

The kernel tells the layers by the names that they had when it was mounted. A restore makes it when everything else is
mounted, so these names have to lead there at the dump.
"""

from __future__ import annotations

import os
import stat

from engine.kernel.namespaces import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.mountinfo import Mount
    from engine.mounts.tree import Tree

LATE = True
_LAYERS = ("lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir")
_LONGEST = 255  # bytes of an option that fsconfig(2) takes


def blockers(tree: Tree, mount: Mount) -> list[str]:
    """Layers that cannot be had again."""
    with entered(tree.pid, "mnt"):
        return look(mount)


def look(mount: Mount) -> list[str]:
    """The same, in the mount's own namespace."""
    out = []
    for option in mount.options:
        name, _, value = option.partition("=")
        if name not in _LAYERS:
            continue
        if len(os.fsencode(value)) > _LONGEST:
            out.append(f"{mount}: its {name} is longer than {_LONGEST} bytes")
            continue
        for path in _split(value) if name == "lowerdir" else [value]:
            if not path.startswith("/"):
                out.append(f"{mount}: its layer {path!r} has a name that is not absolute")
            elif not _is_directory(path):
                out.append(f"{mount}: its layer {path} cannot be seen in its namespace")
    remedy = f"give it by --external 'mnt[{mount.point}]:KEY' (and --external 'mnt[KEY]:PATH' at restore)"
    return [f"{it}: {remedy}" for it in out]


def _split(value: str) -> list[str]:
    """The layers of lowerdir: colons between, two before what has data only; a backslash before what is none."""
    parts, part, escaped = [], "", False
    for c in value:
        if c == ":" and not escaped:
            parts.append(part)
            part = ""
        elif c != "\\" or escaped:
            part += c
        escaped = c == "\\" and not escaped
    return [p for p in (*parts, part) if p]


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
