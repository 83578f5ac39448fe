"""For hooks of cases with mounts from outside: volumes on the machine, which lie in the item's directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zdtm.observe.mounts import parse

if TYPE_CHECKING:
    from zdtm.hooks import Outside


def make(o: Outside, name: str, kind: str = "tmpfs", source: str = "", shared: bool = False) -> Path:
    """A file system on a new directory of that name; where it is a tmpfs everybody may write."""
    volume = o.directory / name
    volume.mkdir()
    o.host("mount", "-t", kind, source or name, str(volume))
    if shared:
        o.host("mount", "--make-shared", str(volume))
    if kind == "tmpfs":
        volume.chmod(0o777)
    return volume


def clean(o: Outside) -> None:
    """Unmount all of them, the last one first."""
    below = f"{o.directory}/"
    points = [m.point for m in parse(Path("/proc/self/mountinfo").read_text()) if m.point.startswith(below)]
    for point in reversed(points):
        o.host("umount", "--lazy", point)


def points(o: Outside) -> list[str]:
    """The mount points of the tree's root task."""
    return [m.point for m in parse(Path(f"/proc/{o.pid}/mountinfo").read_text())]


def seen_inside(o: Outside, volume: Path, names: list[str]) -> list[str]:
    """Of these directories of the test those in which something appears that is mounted in a volume."""
    inside = volume / "inside"
    inside.mkdir()
    o.host("mount", "-t", "tmpfs", "inside", str(inside))
    there = points(o)
    o.host("umount", str(inside))
    os.rmdir(inside)
    return [name for name in names if f"/scratch/{name}/inside" in there]
