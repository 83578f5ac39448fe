from zdtm import volumes

clean = volumes.clean


def fill(volume, **texts):
    for name, text in texts.items():
        for directory in (volume / name, volume / name / "part"):
            directory.mkdir()
            directory.chmod(0o777)
        (volume / name / "name").write_text(text)


def prepare(o):
    volume = volumes.make(o, "volume")
    fill(volume, a="a", b="other")
    for name in ("a", "b"):
        o.give(volume / name, f"/scratch/{name}")


def dumped(o):
    """Who restores may give one a different file system, from the first time on."""
    if (o.directory / "second").exists():
        return
    (o.directory / "volume" / "b" / "name").write_text("b")
    fill(volumes.make(o, "second", source="volume"), b="other")


def restore_options(o):
    return [f"--external=mnt[MNT_A]:{o.directory}/volume/a", f"--external=mnt[MNT_B]:{o.directory}/second/b"]
