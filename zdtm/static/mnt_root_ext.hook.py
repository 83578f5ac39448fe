from zdtm import volumes

clean = volumes.clean


def prepare(o):
    """A bind that nobody sees to have been one: its root is a directory."""
    directory = o.directory / "directory"
    directory.mkdir()
    directory.chmod(0o777)
    (directory / "file").write_text("outside")
    o.host("mount", "--bind", str(directory), str(directory))
    o.host("mount", "--make-shared", str(directory))
    o.give(directory, "/scratch/ext")


def restore_options(o):
    return [f"--external=mnt[DIRECTORY]:{o.directory / 'directory'}"]


def restored(o):
    there = volumes.seen_inside(o, o.directory / "directory", ["ext"])
    assert there == ["ext"], "what is mounted outside does not appear"
