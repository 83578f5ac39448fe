"""File descriptors: number, target, flags, position, and what the kernel adds for their kind."""

import os
import stat

from zdtm.observe.maps import name_of
from zdtm.observe.proc import PROC, read


def describe(pid: int, mount_points: dict[int, str], positions: bool, nameless: dict[str, str]) -> list[str]:
    """A line each; `mount_points` are those of the task's namespace, by mnt_id.

    `nameless` are the tree's pipes and sockets: restored ones have other numbers, but each number is still one of them.
    """
    lines = []
    for number in sorted(int(name) for name in os.listdir(PROC / str(pid) / "fd")):
        link = f"/proc/{pid}/fd/{number}"
        target = name_of(os.readlink(link))
        if target.startswith(("pipe:[", "socket:[")):
            target = nameless.setdefault(target, f"{target.partition('[')[0]}[number {len(nameless) + 1} of the tree]")
        info = dict(line.split(":", 1) for line in read(pid, f"fdinfo/{number}").splitlines() if ":" in line)
        mount = mount_points.get(int(info.pop("mnt_id", "0")), "none")
        info.pop("ino", None)  # follows from the identity below, where it is to be kept
        position = info.pop("pos").strip() if positions else info.pop("pos") and "?"
        flags = info.pop("flags").strip()
        rest = "".join(f" {key}={' '.join(value.split())}" for key, value in info.items())
        lines.append(f"{number}: {target} [{identity(link, target)}] mount={mount} flags={flags} pos={position}{rest}")
    return lines


def identity(link: str, target: str) -> str:
    """What kind of file it is, and which one.

    A file without a name is made anew by a restore: its inode may differ. What procfs has of a task is made anew by
    whoever looks it up, and only then belongs to the task's user.
    """
    try:
        found = os.stat(link)
    except OSError as error:
        return f"stat: {error.strerror}"
    if target.startswith("/proc/") and target.split("/")[2].isdecimal():
        return stat.filemode(found.st_mode)
    what = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if target.endswith(" (deleted)") or not target.startswith("/"):
        return what
    return f"{what} {os.major(found.st_dev)}:{os.minor(found.st_dev)}:{found.st_ino}"
