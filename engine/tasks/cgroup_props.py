"""What of a cgroup is kept beside who is in it: its properties, by controller, and how they are written.

--cgroup-props and --cgroup-props-file change the table:

    "cpu":
     - "strategy": "replace"
     - "properties": ["cpu.shares", "cpu.cfs_period_us"]

`replace` keeps only these of a controller, `merge` keeps them besides.
"""

from __future__ import annotations

from engine.errors import BadOption, EngineError
from engine.kernel.cgroup import UNIFIED, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.options import Options

# Of every cgroup; of the last ones only whose they are.
_EVERY = ("cgroup.clone_children", "notify_on_release", "cgroup.procs", "tasks")
_EVERY_UNIFIED = (
    *("cgroup.type", "cgroup.subtree_control", "cgroup.max.descendants", "cgroup.max.depth", "cgroup.pressure"),
    *("cgroup.procs", "cgroup.threads"),
)
MEMBERS = ("cgroup.procs", "cgroup.threads", "tasks")
# In the order in which they have to be written: a limit may depend on one before it. `*` is a size of huge pages.
_OF_V1 = {
    "cpu": (
        *("cpu.idle", "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us"),
        *("cpu.rt_period_us", "cpu.rt_runtime_us"),
    ),
    "cpuset": (
        *("cpuset.cpus", "cpuset.mems", "cpuset.memory_migrate", "cpuset.cpu_exclusive", "cpuset.mem_exclusive"),
        *("cpuset.mem_hardwall", "cpuset.memory_spread_page", "cpuset.memory_spread_slab"),
        *("cpuset.sched_load_balance", "cpuset.sched_relax_domain_level"),
    ),
    "memory": (
        *("memory.use_hierarchy", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness"),
        *("memory.soft_limit_in_bytes", "memory.move_charge_at_immigrate", "memory.oom_control"),
        *("memory.kmem.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"),
    ),
    "blkio": (
        *("blkio.weight", "blkio.bfq.weight", "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"),
        *("blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"),
    ),
    "devices": ("devices.list",),
    "pids": ("pids.max",),
    "net_cls": ("net_cls.classid",),
    "net_prio": ("net_prio.ifpriomap",),
    "hugetlb": ("hugetlb.*.limit_in_bytes", "hugetlb.*.rsvd.limit_in_bytes"),
    "misc": ("misc.max",),
    "rdma": ("rdma.max",),
}
_OF_V2 = {
    "cpu": (*("cpu.idle", "cpu.weight", "cpu.max", "cpu.max.burst", "cpu.uclamp.min", "cpu.uclamp.max"),),
    "cpuset": ("cpuset.cpus", "cpuset.mems", "cpuset.cpus.exclusive", "cpuset.cpus.partition"),
    "memory": (
        *("memory.min", "memory.low", "memory.high", "memory.max", "memory.oom.group"),
        *("memory.swap.high", "memory.swap.max", "memory.zswap.max", "memory.zswap.writeback"),
    ),
    "io": ("io.weight", "io.bfq.weight", "io.max", "io.latency", "io.prio.class"),
    "pids": ("pids.max",),
    "hugetlb": ("hugetlb.*.max", "hugetlb.*.rsvd.max"),
    "misc": ("misc.max",),
    "rdma": ("rdma.max",),
    "dmem": ("dmem.max", "dmem.low", "dmem.min"),
}
FREEZER, FREEZER_UNIFIED = "freezer.state", "cgroup.freeze"
_BY_LINE = ("net_prio.ifpriomap", "io.max", "io.latency", "misc.max", "rdma.max", "dmem.max", "dmem.low", "dmem.min")
_STRATEGIES = ("replace", "merge")


class Table:
    """Which properties are kept of a cgroup; the options may have changed that."""

    __slots__ = ("_changes",)

    def __init__(self, options: Options) -> None:
        self._changes: dict[str, tuple[str, list[str]]] = {}
        if options.cgroup_props_file:
            try:
                with open(options.cgroup_props_file, encoding="utf-8") as f:
                    self._changes.update(parse(f.read(), "--cgroup-props-file"))
            except OSError as e:
                raise BadOption(f"--cgroup-props-file {options.cgroup_props_file}: {e.strerror}") from e
        if options.cgroup_props:
            self._changes.update(parse(options.cgroup_props, "--cgroup-props"))

    def names(self, hierarchy: Hierarchy, path: str) -> list[str]:
        """Those of one cgroup that are there."""
        there = hierarchy.files(path)
        if hierarchy.name == UNIFIED:
            controllers = (hierarchy.find(path, "cgroup.controllers") or "").split()
            every, of = list(_EVERY_UNIFIED), _OF_V2
        else:
            controllers = hierarchy.name.split(",")
            every, of = list(_EVERY), _OF_V1
        wanted = every[:-2]
        for controller in controllers:
            its = of.get(controller, ())
            strategy, names = self._changes.get(controller, ("merge", []))
            wanted += [*(its if strategy == "merge" else ()), *names]
        wanted += every[-2:]
        return [name for pattern in dict.fromkeys(wanted) for name in _matching(pattern, there)]


def _matching(pattern: str, names: list[str]) -> list[str]:
    head, star, tail = pattern.partition("*")
    if not star:
        return [pattern] if pattern in names else []
    found = (name for name in names if name.startswith(head) and name.endswith(tail))
    return sorted(name for name in found if "." not in name[len(head) : len(name) - len(tail)])


def parse(text: str, option: str) -> dict[str, tuple[str, list[str]]]:
    """What --cgroup-props says: by controller, a strategy and names. BadOption with the line that is wrong."""
    out: dict[str, tuple[str, list[str]]] = {}
    controller = ""
    for number, line in enumerate(_lines(text), 1):
        bare = line.strip()
        if not bare or bare.startswith("#") or bare == "---":
            continue
        is_item = bare.startswith("-")
        key, colon, value = bare.lstrip("- ").partition(":")
        name, value = _word(key), value.strip()
        if not colon or not name:
            raise BadOption(f"{option}: line {number}: expected a name and a colon, not {bare!r}")
        if not is_item and not value:
            controller = name
            out[controller] = ("replace", [])
        elif not controller:
            raise BadOption(f"{option}: line {number}: {name!r} is of no controller")
        elif name == "strategy":
            if _word(value) not in _STRATEGIES:
                raise BadOption(f"{option}: line {number}: strategy {value}: one of " + ", ".join(_STRATEGIES))
            out[controller] = (_word(value), out[controller][1])
        elif name == "properties":
            if not (value.startswith("[") and value.endswith("]")):
                raise BadOption(f'{option}: line {number}: properties are given as ["name", "name"]')
            names = [_word(part) for part in value[1:-1].split(",") if part.strip()]
            if any("/" in name or not name for name in names):
                raise BadOption(f"{option}: line {number}: {value} is no list of names of files")
            out[controller] = (out[controller][0], names)
        else:
            raise BadOption(f"{option}: line {number}: {name!r} is unknown; strategy or properties")
    return out


def _lines(text: str) -> Iterator[str]:
    """The lines; a list in brackets may go over several."""
    whole = ""
    for line in text.splitlines():
        whole = f"{whole} {line.strip()}" if whole else line
        if whole.count("[") <= whole.count("]"):
            yield whole
            whole = ""
    if whole:
        yield whole


def _word(text: str) -> str:
    return text.strip().strip("\"'")


def value(hierarchy: Hierarchy, path: str, name: str) -> str | None:
    """What an image says of a property; None for one that cannot be read here."""
    if name in MEMBERS:
        return ""
    found = hierarchy.find(path, name)
    if found is not None and name == "memory.oom_control":
        return found.split()[1]  # after "oom_kill_disable"
    if found and name == "cpuset.cpus.partition":
        return found.split()[0]  # and why that is invalid for now
    return found


def write_all(hierarchy: Hierarchy, path: str, values: list[tuple[str, str]]) -> None:
    """Give properties their values, where they have others; one that depends on another comes again. EngineError."""
    failed = []
    for name, wanted in values:
        try:
            write(hierarchy, path, name, wanted)
        except EngineError:
            failed.append((name, wanted))
    for name, wanted in failed:
        write(hierarchy, path, name, wanted)


def write(hierarchy: Hierarchy, path: str, name: str, wanted: str) -> None:
    """Give a property its value, where it has another. EngineError."""
    if name in MEMBERS or value(hierarchy, path, name) == wanted:
        return
    if name == "cgroup.type":
        if wanted == "threaded":  # "domain threaded" is said of one above such
            hierarchy.write(path, name, wanted)
    elif name == "cgroup.subtree_control":
        _control(hierarchy, path, wanted)
    elif name == "devices.list":
        _devices(hierarchy, path, wanted)
    elif name in _BY_LINE or name.startswith("blkio.throttle."):
        old = (hierarchy.find(path, name) or "").splitlines()
        if name == "net_prio.ifpriomap":  # an interface that has gone, and had none, is none to worry about
            there = {line.split()[0] for line in old}
            wanted = "\n".join(
                line for line in wanted.splitlines() if line.split()[0] in there or line.split()[1] != "0"
            )
        for line in wanted.splitlines():
            if line not in old:
                hierarchy.write(path, name, line)
    elif wanted or name.startswith("cpuset."):
        hierarchy.write(path, name, wanted or "\n")


def _control(hierarchy: Hierarchy, path: str, wanted: str) -> None:
    old = (hierarchy.find(path, "cgroup.subtree_control") or "").split()
    new = wanted.split()
    missing = set(new) - set((hierarchy.find(path, "cgroup.controllers") or "").split())
    if missing:
        raise EngineError(
            f"cgroup version 2:{path}: controllers {', '.join(sorted(missing))} are not to be had there: "
            "enable them in cgroup.subtree_control above"
        )
    words = [f"+{name}" for name in new if name not in old] + [f"-{name}" for name in old if name not in new]
    if words:
        hierarchy.write(path, "cgroup.subtree_control", " ".join(words))


def _devices(hierarchy: Hierarchy, path: str, wanted: str) -> None:
    """The list of what is allowed; everything, or nothing but it."""
    if "a *:* rwm" in wanted.splitlines():
        hierarchy.write(path, "devices.allow", "a")
        return
    hierarchy.write(path, "devices.deny", "a")
    for line in wanted.splitlines():
        hierarchy.write(path, "devices.allow", line)
