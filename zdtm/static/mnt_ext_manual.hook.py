import os

from zdtm import volumes

clean = volumes.clean


def prepare(o):
    volume = volumes.make(o, "volume")
    (volume / "file").write_text("outside")
    o.give(volume, "/scratch/ext")
    o.give("/dev/zero", "/scratch/zero")


def dumped(o):
    """It is somewhere else by then, from the first time on."""
    if (o.directory / "moved").exists():
        return
    (o.directory / "volume" / "since").write_text("since")
    (o.directory / "moved").mkdir()
    o.host("mount", "--move", str(o.directory / "volume"), str(o.directory / "moved"))


def restore_options(o):
    return [f"--external=mnt[VOLUME]:{o.directory / 'moved'}", "--external=mnt[NODE]:/dev/zero"]


def restored(o):
    assert os.path.exists(f"/proc/{o.pid}/root/scratch/private/since"), "it is another mount"
