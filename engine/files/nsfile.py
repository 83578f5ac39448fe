"""Open files of /proc/PID/ns, which stand for namespaces (namespaces(7)); nsf of a file_entry."""

from __future__ import annotations

import os

from engine.errors import BadImage, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel.namespaces import FLAGS, setns, unshare
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.plan.program import Program, Ref
    from engine.tasks.opener import Opener

TYPE = 14  # fd_types.NS
_USERNS, _PARENT, _PID_FROM = 0xB701, 0xB702, 0x8004B706  # NS_GET_* (linux/nsfs.h)
# Which of a process's links leads to one that is there only with that process.
_LINKS = {FLAGS["pid"]: "pid", FLAGS["time"]: "time_for_children"}


def check(d: Descriptor, scope: Scope) -> None:
    """Whose namespaces they are is for `Survey` to say."""


def _split(link: str) -> tuple[str, int]:
    kind, _, number = link.partition(":")
    return kind.removesuffix("_for_children"), int(number.strip("[]"))


class Survey:
    """Those of namespaces that no task of the tree is in are found when all tasks are known."""

    __slots__ = ("_found", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._found: dict[tuple[str, int], Descriptor] = {}

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._found.setdefault(_split(d.link), d)

    def blockers(self, pids: set[int]) -> list[str]:
        """What cannot be dumped; what can be, and no task of `pids` is in, the scope holds from then on."""
        out = []
        for (kind, inode), d in self._found.items():
            names = [f"/proc/{pid}/ns/{kind}" for pid in ("self", *sorted(pids))]
            if kind in ("pid", "time"):
                names += [f"/proc/{pid}/ns/{kind}_for_children" for pid in sorted(pids)]
            if any(_leads_to(name, kind, inode) for name in names):
                continue
            if kind == "pid":
                out += _dead_blocker(d, self._scope.options.tree)
                continue
            from engine.namespaces.held import KINDS

            if kind not in KINDS or (kind == "mnt" and not self._scope.has_mounts):
                why = ", and the others are in the engine's own" if kind == "mnt" else ""
                out.append(
                    f"{d}: no task of the tree is in that namespace{why}: not supported yet; close it before the dump"
                )
                continue
            fd = os.open(f"/proc/{d.pid}/fd/{d.fd}", os.O_RDONLY | os.O_CLOEXEC)
            out += self._scope.hold_of(d, "that namespace", kind, inode, fd)
        return out

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def _dead_blocker(d: Descriptor, root: int) -> list[str]:
    """A pid namespace that no task is in can be made again if it can have no process any more, right below `root`'s."""
    from fcntl import ioctl

    fd = os.open(f"/proc/{d.pid}/fd/{d.fd}", os.O_RDONLY | os.O_CLOEXEC)
    above = -1
    try:
        if not _has_ended(fd):
            return [f"{d}: its first process is not in the tree: dump both together, or close it before the dump"]
        for call, kind in ((_PARENT, "pid"), (_USERNS, "user")):
            above = ioctl(fd, call)
            if os.fstat(above).st_ino != os.stat(f"/proc/{root}/ns/{kind}").st_ino:
                what = "is not right below" if kind == "pid" else "does not belong to"
                return [
                    f"{d}: it {what} the {kind} namespace of the root task: not supported; close it before the dump"
                ]
            os.close(above)
            above = -1
    except PermissionError:
        return [f"{d}: it is outside of the engine's own pid namespace: close it before the dump"]
    finally:
        os.close(fd)
        if above >= 0:
            os.close(above)
    return []


def _has_ended(fd: int) -> bool:
    """Has the first process of a pid namespace ended?"""
    from fcntl import ioctl

    try:
        ioctl(fd, _PID_FROM, 1)
    except ProcessLookupError:
        return True
    return False


def _leads_to(name: str, kind: str, inode: int) -> bool:
    try:
        return os.readlink(name) == f"{kind}:[{inode}]"
    except OSError:
        return False


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry."""
    kind, inode = _split(d.link)
    entry.type = TYPE
    nsf = entry.nsf
    nsf.id = entry.id
    nsf.ns_cflag = FLAGS[kind]
    nsf.flags = d.flags & ~O_CLOEXEC
    ns = files.scope.namespaces.find(kind, inode)
    if ns is None and kind == "pid":
        nsf.ns_id, nsf.ended = files.scope.namespaces.dead(inode), True
        return
    if ns is None:
        raise Unsupported([f"{d}: it was opened while the tree was being frozen; dump again"])
    nsf.ns_id = ns.ident
    if kind == "pid" and ns is not files.scope.namespaces.own[kind]:
        nsf.pid = _init(d, files.scope)
    elif kind == "time" and not _leads_to(f"/proc/{ns.pid}/ns/time", kind, inode):
        nsf.pid = files.scope.pids.inner(ns.pid)


def _init(d: Descriptor, scope: Scope) -> int:
    """The first process of a pid namespace, as the tree calls it."""
    from fcntl import ioctl

    fd = os.open(f"/proc/{d.pid}/fd/{d.fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return scope.pids.inner(ioctl(fd, _PID_FROM, 1))
    except OSError as e:
        raise Unsupported(
            [f"{d}: the first process of that namespace is not known ({e.strerror}); close it first"]
        ) from e
    finally:
        os.close(fd)


def task_behind(entry: Any) -> int:
    """The pid of the process that a namespace comes with; 0 for one that is there before."""
    return int(entry.nsf.pid)


def plan_open(program: Program, entry: Any, proc: int, lowest: int) -> Ref:
    """Let a task open it, when the tasks of the tree are there. `proc` is a descriptor of /proc."""
    nsf = entry.nsf
    name = program.arena.text(f"{nsf.pid}/ns/{_LINKS[nsf.ns_cflag]}")
    note = f"file {nsf.id:#x}"
    return program.sys("openat", proc, name, nsf.flags, 0, expect=abi.EXPECT_EQUAL, want=lowest, note=note)


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Open that of the opener, which is in the namespaces of the tree."""
    nsf = entry.nsf
    kind = next((kind for kind, flag in FLAGS.items() if flag == nsf.ns_cflag), "")
    if nsf.ended and (kind, nsf.ns_id) not in opener.entered:
        opener.entered[kind, nsf.ns_id] = opener.hold(ended_pid_namespace())
    if (kind, nsf.ns_id) in opener.entered:
        return opener.links.open(opener.entered[kind, nsf.ns_id], nsf.flags)
    if not kind or nsf.ns_id != opener.namespaces.get(kind):
        what = f"file {nsf.id:#x}: namespace {nsf.ns_id} of kind {nsf.ns_cflag:#x}"
        raise BadImage(opener.image, 0, f"{what} is not that of the root task: not supported yet")
    return os.open(f"self/ns/{kind}", nsf.flags | O_CLOEXEC, dir_fd=opener.links.proc)


def ended_pid_namespace() -> int:
    """A descriptor of a pid namespace whose first process has ended; below that of the caller. KernelError."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(FLAGS["pid"])
        try:
            ready, tell = os.pipe()
            pid = os.fork()
            if not pid:
                os.close(tell)
                os.read(ready, 1)
                os._exit(0)
            os.close(ready)
            fd = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
            os.close(tell)
            os.waitpid(pid, 0)
            return fd
        finally:
            setns(own, FLAGS["pid"])
    finally:
        os.close(own)
