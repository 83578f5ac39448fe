from zdtm import volumes

clean = volumes.clean


def prepare(o):
    volume = volumes.make(o, "volume")
    (volume / "file").write_text("outside")
    o.give(volume, "/scratch/deep/below/ext")


def restore_options(o):
    return [f"--external=mnt[VOLUME]:{o.directory / 'volume'}"]
