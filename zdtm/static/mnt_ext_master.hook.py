from zdtm import volumes

clean = volumes.clean
NAMES = ["slave", "both", "peer"]


def prepare(o):
    o.give(volumes.make(o, "volume", shared=True), "/scratch/slave")


def ready(o):
    there = volumes.seen_inside(o, o.directory / "volume", NAMES)
    assert there == NAMES, f"what is mounted outside appears in {there}"


restored = ready
