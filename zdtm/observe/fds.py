"""File descriptors: number, target, flags, position, and what the kernel adds for their kind."""

import os
import stat

from zdtm.observe.proc import PROC, read


def describe(pid: int, mount_points: dict[int, str], positions: bool) -> list[str]:
    """A line each; `mount_points` are those of the task's namespace, by mnt_id."""
    lines = []
    for number in sorted(int(name) for name in os.listdir(PROC / str(pid) / "fd")):
        link = f"/proc/{pid}/fd/{number}"
        target = os.readlink(link)
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

    A file without a name is made anew by a restore: its inode may differ.
    """
    try:
        found = os.stat(link)
    except OSError as error:
        return f"stat: {error.strerror}"
    what = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if target.endswith(" (deleted)") or not target.startswith("/"):
        return what
    return f"{what} {os.major(found.st_dev)}:{os.minor(found.st_dev)}:{found.st_ino}"
