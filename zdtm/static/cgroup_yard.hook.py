from pathlib import Path

from zdtm import cgroups
from zdtm.cgroups import ALONE, clean


def ready(o):
    cgroups.ready(o)
    yard = o.directory / "yard"
    for name in cgroups.of("self"):
        shown = Path(yard, name.removeprefix("name=") or "unified")
        shown.mkdir(parents=True)
        kind = (
            ("-t", "cgroup", "-o", f"none,{name}" if name.startswith("name=") else name) if name else ("-t", "cgroup2")
        )
        o.host("mount", *kind, "zdtm", str(shown))


def dumped(o):
    cgroups.dumped(o)
