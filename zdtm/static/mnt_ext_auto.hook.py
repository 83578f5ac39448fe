import os

from zdtm import volumes

clean = volumes.clean
SHARING = ["ext", "shared", "slave", "both"]


def prepare(o):
    part = volumes.make(o, "volume", shared=True) / "part"
    part.mkdir()
    part.chmod(0o777)
    (part / "file").write_text("outside")
    o.give(part, "/scratch/ext")
    o.give("/dev/zero", "/scratch/zero")


def dumped(o):
    """By a new name: what is external is as it is then."""
    (o.directory / "volume" / "part" / "since").write_text("since")


def restored(o):
    there = volumes.seen_inside(o, o.directory / "volume" / "part", [*SHARING, "private"])
    assert there == SHARING, f"what is mounted outside appears in {there}"
    assert os.path.exists(f"/proc/{o.pid}/root/scratch/ext/since"), "it is another mount"
