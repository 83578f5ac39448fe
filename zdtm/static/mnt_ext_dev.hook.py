import os

from zdtm.failures import Skipped


def prepare(o):
    image = o.directory / "image"
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    o.host("mkfs.ext4", "-q", str(image))
    try:
        o.kept["loop"] = loop = o.host("losetup", "--find", "--show", str(image)).strip()
    except Exception as e:
        raise Skipped("no loop device is free") from e
    device = os.stat(loop).st_rdev
    os.mknod(f"/proc/{o.pid}/root{loop}", 0o60600, device)
    os.symlink(loop, f"/proc/{o.pid}/root/dev/volume")
    o.kept["numbers"] = f"{os.major(device)}/{os.minor(device)}"


def dump_options(o):
    return [f"--external=dev[{o.kept['numbers']}]:DEVICE"]


def restore_options(o):
    return [f"--external=dev[DEVICE]:{o.kept['loop']}"]


def clean(o):
    if loop := o.kept.get("loop"):
        o.host("losetup", "--detach", loop)
