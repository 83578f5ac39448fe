import os
import shutil

from zdtm.failures import Skipped


def prepare(o):
    if not shutil.which("mkfs.btrfs") or not shutil.which("btrfs"):
        raise Skipped("no btrfs-progs")
    image = o.directory / "image"
    with open(image, "wb") as f:
        f.truncate(120 << 20)
    o.host("mkfs.btrfs", "-q", str(image))
    volume = os.readlink(f"/proc/{o.pid}/cwd") + "/volume"
    try:
        o.host("mount", "-o", "loop", str(image), volume)
    except Exception as e:
        raise Skipped("no loop device is free, or the kernel has no btrfs") from e
    o.kept["volume"] = volume
    o.host("btrfs", "-q", "subvolume", "create", f"{volume}/sub")


def clean(o):
    if volume := o.kept.get("volume"):
        o.host("umount", "--lazy", volume)
