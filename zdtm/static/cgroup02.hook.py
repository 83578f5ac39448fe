from zdtm import cgroups
from zdtm.cgroups import ALONE, clean, dumped


def ready(o):
    cgroups.ready(o)
    o.kept["names"] = sorted(o.kept["cgroups"])


def dump_options(o):
    name, other = o.kept["names"]
    return ["--cgroup-root", f"{name}:/prefix", "--cgroup-dump-controller", name, "--cgroup-dump-controller", other]


def restore_options(o):
    return ["--cgroup-root", "/new/root", "--cgroup-root", f"{o.kept['names'][0]}:/prefix"]


def restored(o):
    name, other = o.kept["names"]
    where = cgroups.of(o.pid)
    assert (where[name], where[other]) == ("/prefix/sub", "/new/root")
    assert cgroups.tree(other) == ["/", "/new", "/new/root", "/new/root/sub"]
