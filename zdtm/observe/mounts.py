"""Mounts from /proc/PID/mountinfo; numbers that a restore cannot keep become what they stand for."""

import re
from dataclasses import dataclass

from zdtm.observe.proc import read


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo; proc_pid_mountinfo(5) has the fields."""

    mnt_id: int
    parent: int
    device: str
    root: str
    point: str
    options: str
    tags: tuple[str, ...]
    fstype: str
    source: str
    super_options: str


def parse(mountinfo: str) -> list[Mount]:
    """All lines, in order."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mnt_id, parent, device, root, point, options, *tags = left.split(" ")
        fstype, source, super_options = right.split(" ", 2)
        found.append(
            Mount(
                int(mnt_id),
                int(parent),
                device,
                root,
                point,
                options,
                tuple(tags),
                fstype,
                source,
                super_options,
            )
        )
    return found


def points(pid: int) -> dict[int, str]:
    """The mount points of a task's namespace by mnt_id."""
    return {mount.mnt_id: mount.point for mount in parse(read(pid, "mountinfo"))}


def describe(pid: int) -> list[str]:
    """A line a mount, sorted by mount point; what is stacked on one point stays in its order."""
    mounts = parse(read(pid, "mountinfo"))
    by_id = {mount.mnt_id: mount for mount in mounts}
    groups: dict[str, int] = {}
    lines = []
    for mount in sorted(mounts, key=lambda m: (m.point, _depth(m, by_id))):
        parent = by_id.get(mount.parent)
        tags = [re.sub(r"\d+", lambda m: str(groups.setdefault(m[0], len(groups) + 1)), tag) for tag in mount.tags]
        # Devices without a block device behind them are numbered by the kernel at mount time.
        device = "anonymous" if mount.device.startswith("0:") else mount.device
        # So are process groups outside, and pipes.
        options = re.sub(r"(pgrp|pipe_ino)=\d+", r"\1=number", mount.super_options)
        root = re.sub(r"\d+", "*", mount.root) if mount.fstype == "nsfs" else mount.root  # the namespace's inode
        lines.append(
            f"{mount.point} on={parent.point if parent else 'none'} root={root} {device} "
            f"{mount.fstype} {mount.source} {mount.options} {options} {' '.join(tags)}".rstrip()
        )
    return lines


def _depth(mount: Mount, by_id: dict[int, Mount]) -> int:
    depth = 0
    current: Mount | None = mount
    while current is not None and depth <= len(by_id):
        depth += 1
        parent = by_id.get(current.parent)
        current = parent if parent is not current else None
    return depth
