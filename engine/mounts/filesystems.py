"""The kinds of file systems that a tree may have mounted: their numbers in images, and the modules of those with more.

A module of a kind has what is special of it:

- `blockers(tree, mount)`: what cannot be dumped of it, by name, with the remedy;
- `options(mount, ids)`: the mount's own options, for the image (ids: `engine.namespaces.user.Ids`);
- `dump(dump, entry, fd)`: the content, by a descriptor of a mount of its root without anything mounted below;
- `root(build, entry)`: what a new mount is of, unless that is the file system's root;
- `fill(build, entry, fd)`: the content, by a descriptor of a mount of the new file system, attached nowhere;
- `prepare(build, mount)`: at restore, while what is outside can be seen;
- `make(build, mount)`: a descriptor of a new one, if making it takes more than its options;
- `exact(root, name)`: how a mount point in it is opened, unless by `mounts.exact`;
- `finish(build, entry, fd)`: what has to wait for the trees;
- `LATE`: it is made when all else is mounted, with the root of its namespace.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

UNSUPPORTED, TMPFS, AUTO = 0, 5, 16
NUMBERS = {
    "proc": 1,
    "sysfs": 2,
    "devtmpfs": 3,
    "binfmt_misc": 4,
    "tmpfs": TMPFS,
    "devpts": 6,
    "pstore": 8,
    "securityfs": 9,
    "fusectl": 10,
    "debugfs": 11,
    "cgroup": 12,
    "mqueue": 14,
    "overlay": 17,
    "autofs": 18,
    "tracefs": 19,
    "cgroup2": 23,
}
NSFS = "nsfs"  # binds of namespaces
NAMES = {number: name for name, number in NUMBERS.items()}


def module(fstype: str) -> ModuleType | None:
    """What is special of a kind; imported when it is met."""
    if fstype == "tmpfs":
        from engine.mounts import fs_tmpfs

        return fs_tmpfs
    if fstype == "devpts":
        from engine.mounts import fs_devpts

        return fs_devpts
    if fstype in ("cgroup", "cgroup2"):
        from engine.mounts import fs_cgroup

        return fs_cgroup
    if fstype == "binfmt_misc":
        from engine.mounts import fs_binfmt

        return fs_binfmt
    if fstype == "autofs":
        from engine.mounts import fs_autofs

        return fs_autofs
    if fstype == "overlay":
        from engine.mounts import fs_overlay

        return fs_overlay
    return None
