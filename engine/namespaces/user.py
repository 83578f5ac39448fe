"""User namespaces (user_namespaces(7)): the maps of ids; userns-ID.img.

Whatever user or group id an image holds is the one inside of the root task's user namespace; the maps alone say what it
was outside. So all of an image's ids are translated with one `Ids`: those that the engine sees from its own user
namespace (stat(2), /proc/PID/status, SO_PEERCRED, ...) by `to_inside`, those of images by `to_outside`, unless who uses
them is in the user namespace itself.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError, Unsupported
from engine.kernel import proc, process
from engine.kernel.namespaces import FLAGS, owner, owner_uid, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from engine.context import Context
    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.namespaces.table import Namespace, Namespaces

    # (first id inside, first id outside, how many)
    Extent = tuple[int, int, int]

_IMAGE = "USERNS"
_DEADLINE, _RESET_ON_FORK = 6, 1  # SCHED_DEADLINE, SCHED_FLAG_RESET_ON_FORK (sched_setattr(2))
_EXTENTS_MAX = 340  # lines that the kernel takes
_IDS = 1 << 32
_OVERFLOW = 65534  # of /proc/sys/kernel/overflowuid, unless somebody has changed that
_NOBODY = _IDS - 1  # (uid_t)-1 is no id


class Ids:
    """The two maps of a user namespace; without any, ids inside are those outside."""

    __slots__ = ("_gids", "_uids", "what")

    def __init__(
        self, uids: list[Extent] | None = None, gids: list[Extent] | None = None, what: str = "the user namespace"
    ) -> None:
        self._uids = uids
        self._gids = gids
        self.what = what  # for errors

    @classmethod
    def of_task(cls, pid: int) -> Ids:
        """Those of a task's user namespace, as seen from the engine's."""
        link = os.readlink(f"/proc/{pid}/ns/user")
        if link == os.readlink("/proc/self/ns/user"):
            return cls()
        return cls(read_map(pid, "uid_map"), read_map(pid, "gid_map"), f"the user namespace {link}")

    @classmethod
    def of_entry(cls, entry: Any) -> Ids:
        """Those of a userns_entry, as they will be."""
        return cls(_extents(entry.uid_map), _extents(entry.gid_map))

    def uid_inside(self, uid: int) -> int:
        """What a user of the engine's user namespace is called inside. Unsupported if it is mapped to nothing."""
        return _translate(self._uids, uid, 1, 0, f"user {uid}", self.what)

    def gid_inside(self, gid: int) -> int:
        """The same of a group."""
        return _translate(self._gids, gid, 1, 0, f"group {gid}", self.what)

    def first(self) -> tuple[int, int]:
        """A user and a group that there are inside."""
        return self._uids[0][0] if self._uids else 0, self._gids[0][0] if self._gids else 0

    def options(self, options: list[str]) -> list[str]:
        """Mount options, with `uid=` and `gid=` as they are inside."""
        out = []
        for option in options:
            key, _, value = option.partition("=")
            if key in ("uid", "gid") and value.isdecimal():
                option = f"{key}={self.shown(key, int(value))}"
            out.append(option)
        return out

    def shown(self, key: str, ident: int) -> int:
        """What stat(2) inside shows for a "uid" or "gid": the overflow id for one that is mapped to nothing."""
        try:
            return self.uid_inside(ident) if key == "uid" else self.gid_inside(ident)
        except Unsupported:
            return _OVERFLOW

    def uid_outside(self, uid: int) -> int:
        """What a user of an image is called in the engine's user namespace. Unsupported if the maps lack it."""
        return _translate(self._uids, uid, 0, 1, f"user {uid} of the images", self.what)

    def gid_outside(self, gid: int) -> int:
        """The same of a group."""
        return _translate(self._gids, gid, 0, 1, f"group {gid} of the images", self.what)


def _translate(extents: list[Extent] | None, ident: int, known: int, wanted: int, which: str, what: str) -> int:
    if extents is None:
        return ident
    for extent in extents:
        if 0 <= ident - extent[known] < extent[2]:
            return extent[wanted] + ident - extent[known]
    maps = ", ".join(" ".join(map(str, e)) for e in extents)
    raise Unsupported([f"{which} is not mapped in {what} (inside, outside, count: {maps or 'nothing'})"])


def read_map(pid: int, name: str) -> list[Extent]:
    """A task's "uid_map" or "gid_map"; outside is the engine's own user namespace."""
    out = []
    for line in proc.read_text(f"/proc/{pid}/{name}").splitlines():
        inside, outside, count = (int(word) for word in line.split())
        out.append((inside, outside, count))
    return out


def denies_setgroups(pid: int) -> bool:
    """Is setgroups(2) denied in a task's user namespace, for good?"""
    return proc.read_text(f"/proc/{pid}/setgroups").strip() == "deny"


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """Without maps there are no ids to restore."""
    out = []
    for name in ("uid_map", "gid_map"):
        extents = read_map(ns.pid, name)
        if not extents:
            out.append(f"{ns} has no {name}: write /proc/{ns.pid}/{name} before the dump")
        elif any(outside == _NOBODY for _, outside, _ in extents):
            out.append(f"{ns}: ids of its {name} are not mapped in the engine's own: start criu from outside of that")
    return out


def tree_blockers(
    threads: Mapping[int, list[int]], apart: Mapping[int, Mapping[str, Namespace]], scope: Scope, root: int
) -> list[str]:
    """What tasks in user namespaces below the root task's cannot have: setns(2) takes them there, one by one.

    `threads` are those of each process, `apart` what namespaces some of these have by themselves (of_threads.py).
    """
    out = []
    top = os.readlink(f"/proc/{root}/ns/user")
    views = list(threads)
    fs = process.kcmp_ids(views, process.KCMP_FS)
    for i, view in enumerate(views):
        try:
            if os.readlink(f"/proc/{view}/ns/user") == top:
                continue
            what = "its root, directory and umask in common with another task" if fs.count(fs[i]) > 1 else ""
            if len(threads[view]) > 1:
                what = what or _threads_blocker(view, threads[view], apart, scope)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if what:
            out.append(
                f"pid {view}: is in a user namespace below the root task's, and has {what}: not supported yet: "
                "dump the tree of the first task in that"
            )
    return out


def _threads_blocker(view: int, tids: list[int], apart: Mapping[int, Mapping[str, Namespace]], scope: Scope) -> str:
    """Threads are made in there, and so cannot do what takes capabilities outside; "" if they need not."""
    if view not in tids or proc.Stat(tids[0]).state in process.ENDED:
        return "threads without its first one"
    if os.readlink(f"/proc/{view}/ns/pid") != _link(view, "pid_for_children"):
        return "several threads, and children to come in another pid namespace"
    first, ids = proc.status(view), Ids.of_task(view)
    policy = process.sched_attr(view)
    if policy[0] == _DEADLINE or policy[1] & _RESET_ON_FORK:
        return "several threads, and is scheduled by SCHED_DEADLINE, or with SCHED_RESET_ON_FORK"
    for tid in tids:
        status, its = proc.status(tid), process.sched_attr(tid)
        if its[0] != policy[0] or its[2] < policy[2] or its[3] != policy[3]:
            return f"thread {tid}, which is scheduled by another policy, or at a higher priority, than the first"
        try:
            if status["Uid"] != first["Uid"] or status["Gid"] != first["Gid"] or status["Groups"] != first["Groups"]:
                _ = [ids.uid_inside(int(uid)) for uid in status["Uid"].split()]
                _ = [ids.gid_inside(int(gid)) for gid in (status["Gid"] + " " + status["Groups"]).split()]
        except Unsupported as e:
            return f"thread {tid} with ids that this does not map ({e.blockers[0]})"
        for name in apart.get(tid, {}):
            inode = os.stat(f"/proc/{view}/ns/user").st_ino
            if not name.endswith("_for_children") and owner(f"/proc/{tid}/ns/{name}") != inode:
                return f"thread {tid} in another {name} namespace, which does not belong to that user namespace"
    return ""


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{name}")
    except FileNotFoundError:
        return ""  # there is none yet


def dump(ctx: Context, images: Images, ns: Namespace, namespaces: Namespaces | None = None) -> None:
    """Write userns-ID.img; with all `namespaces`, also what there is to say of one below the root task's."""
    entry = ctx.schema.message("userns_entry")()
    path = f"/proc/{ns.pid}/ns/user"
    above = None
    if namespaces and ns is not namespaces.of("user", ctx.options.tree):
        above = namespaces.find("user", owner(path))
    lower = Ids.of_task(above.pid) if above else Ids()
    for field, name, known in (
        (entry.uid_map, "uid_map", lower.uid_inside),
        (entry.gid_map, "gid_map", lower.gid_inside),
    ):
        for first, start, count in read_map(ns.pid, name):
            field.add(first=first, lower_first=known(start), count=count)
    if denies_setgroups(ns.pid):
        entry.setgroups_denied = True
    if namespaces and above:
        entry.parent = above.ident
        entry.owner = lower.uid_inside(owner_uid(path))
        for other in namespaces.foreign():
            if other.kind != "user" and owner(other.path) == ns.inode:
                entry.owned.add(ns_cflag=FLAGS[other.kind], ns_id=other.ident)
    images.write(_IMAGE, (ns.ident,), [entry])


def check(images: Images, ident: int) -> Any:
    """The userns_entry of an image; BadImage for maps that the kernel would not take."""
    entry = images.read_one(_IMAGE, ident)
    for name in ("uid_map", "gid_map"):
        extents = _extents(getattr(entry, name))
        wrong = ""
        if not extents:
            wrong = "is empty"
        elif len(extents) > _EXTENTS_MAX:
            wrong = f"has {len(extents)} ranges, more than {_EXTENTS_MAX}"
        else:
            for side in (0, 1):
                ranges = sorted((e[side], e[side] + e[2]) for e in extents)
                if any(not start < end < _IDS for start, end in ranges):
                    wrong = "has a range without ids, or beyond them"
                elif any(ranges[i][1] > ranges[i + 1][0] for i in range(len(ranges) - 1)):
                    wrong = "has ranges that overlap"
        if wrong:
            raise BadImage(images.name(_IMAGE, ident), 0, f"its {name} {wrong}; dump again")
    return entry


def maps(images: Images, ident: int) -> list[tuple[str, str]]:
    """Files below /proc/PID, and what they take, in one write(2) each, in this order.

    Where the image says `setgroups_denied`, "deny" comes first: the kernel takes it only then.
    """
    entry = check(images, ident)
    uids, gids = (_text(_extents(field)) for field in (entry.uid_map, entry.gid_map))
    return [("setgroups", "deny")] * entry.setgroups_denied + [("uid_map", uids), ("gid_map", gids)]


def fixed_groups(images: Images, ident: int, groups: list[int]) -> list[int] | None:
    """Where setgroups(2) is denied a task has its groups from before: these, as the engine's namespace calls them.

    None where it is permitted. Unsupported for a group that is mapped to nothing.
    """
    entry = check(images, ident)
    if not entry.setgroups_denied:
        return None
    ids = Ids.of_entry(entry)
    return [ids.gid_outside(gid) for gid in groups]


def write_maps(images: Images, pid: int, ident: int) -> int:
    """Write those of the user namespace that a task has just made, by a process that enters the one around it for good.

    An errno, 0 for none.
    """
    try:
        above = os.open(f"/proc/{proc.Stat(pid).ppid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(above).st_ino != os.stat("/proc/self/ns/user").st_ino:
            setns(above, FLAGS["user"])
        for name, text in maps(images, ident):
            proc.write_text(f"/proc/{pid}/{name}", text)
    except (OSError, KernelError) as e:
        return e.errno or 1
    return 0


def root_ids(entry: Any) -> tuple[int, int]:
    """User and group outside that are root inside. Unsupported where there is none."""
    ids = Ids.of_entry(entry)
    return ids.uid_outside(0), ids.gid_outside(0)


def _extents(field: Any) -> list[Extent]:
    return [(e.first, e.lower_first, e.count) for e in field]


def _text(extents: list[Extent]) -> str:
    return "".join(f"{first} {lower} {count}\n" for first, lower, count in extents)
