from zdtm import cgroups
from zdtm.cgroups import ALONE, clean, dumped, ready


def restored(o):
    assert cgroups.of(o.pid)[""] == cgroups.of("self")[""]
    for name, tops in o.kept["cgroups"].items():
        assert not tops & set(cgroups.tree(name)), "a cgroup has been made"
