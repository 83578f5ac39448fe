"""IPC namespaces (ipc_namespaces(7)): their limits in ipcns-var-ID.img, and System V objects by a module a kind.

POSIX message queues are files of a mounted file system, mqueue; their limits are here.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError
from engine.kernel import proc, process
from engine.kernel import sysvipc as sysv
from engine.kernel.namespaces import entered
from engine.kernel.uapi import prctl as pr
from engine.namespaces import sysv_msg, sysv_sem, sysv_shm
from engine.namespaces.user import Ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from engine.context import Context
    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.namespaces.table import Namespace, Namespaces

_IMAGE = "IPC_VAR"
_NO_SETUID_FIXUP = 1 << 2  # a secure bit (capabilities(7))
_SYS = "/proc/sys/"
_FORCED = "kernel/shm_rmid_forced"
# fields of ipc_var_entry, and the sysctls that they are
_LIMITS = (
    ("sem_ctls", "kernel/sem"),
    ("msg_ctlmax", "kernel/msgmax"),
    ("msg_ctlmnb", "kernel/msgmnb"),
    ("msg_ctlmni", "kernel/msgmni"),
    ("auto_msgmni", "kernel/auto_msgmni"),
    ("shm_ctlmax", "kernel/shmmax"),
    ("shm_ctlall", "kernel/shmall"),
    ("shm_ctlmni", "kernel/shmmni"),
    ("shm_rmid_forced", _FORCED),
    ("mq_queues_max", "fs/mqueue/queues_max"),
    ("mq_msg_max", "fs/mqueue/msg_max"),
    ("mq_msgsize_max", "fs/mqueue/msgsize_max"),
    ("mq_msg_default", "fs/mqueue/msg_default"),
    ("mq_msgsize_default", "fs/mqueue/msgsize_default"),
)
# The next id of a kind, where somebody has asked for one (a restore does): -1 else.
_NEXT = (
    ("msg_next_id", "kernel/msg_next_id"),
    ("sem_next_id", "kernel/sem_next_id"),
    ("shm_next_id", "kernel/shm_next_id"),
)
# What objects are made under: there may be some from before a limit was lowered.
_WIDE = (
    ("kernel/sem", "32000 1024000000 500 32000"),
    ("kernel/msgmax", "2147483647"),
    ("kernel/msgmnb", "2147483647"),
    ("kernel/msgmni", "32768"),
    ("kernel/shmmax", "18446744073692774399"),
    ("kernel/shmall", "18446744073692774399"),
    ("kernel/shmmni", "32768"),
    (_FORCED, "0"),
)


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """What cannot be restored, by name; in a tree that runs on meanwhile."""
    with entered(ns.pid, "ipc"):
        if proc.read_text(_SYS + _FORCED).strip() == "0":
            return []
        return [
            f"{ns}: segment {row['shmid']} is attached by nobody, and with kernel.shm_rmid_forced 1 it would not "
            "outlive a restore: attach it, remove it, or set that to 0"
            for row in sysv.listed(sysv.SHM)
            if not row["nattch"]
        ]


def dump(ctx: Context, images: Images, ns: Namespace, taken: Container[int] = ()) -> tuple[int, int]:
    """Write ipcns-*-ID.img, while the tree is frozen. `taken`: shmids that others have their contents under.

    Returns how many pages of shared memory were looked at, and written to pages images.
    """
    ids = Ids.of_task(ctx.options.tree)
    entry = ctx.schema.message("ipc_var_entry")()
    with entered(ns.pid, "ipc"):
        for field, name in _LIMITS:
            value = _numbers(name)
            if field == "sem_ctls":
                entry.sem_ctls.extend(value)
            else:
                setattr(entry, field, value[0])
        for field, name in _NEXT:
            if (value := _numbers(name)) != [-1]:
                setattr(entry, field, value[0])
        images.write(_IMAGE, (ns.ident,), [entry])
        pages = sysv_shm.dump(ctx, images, ns.ident, ids, taken)
        sysv_msg.dump(ctx, images, ns.ident, ids)
        sysv_sem.dump(ctx, images, ns.ident, ids)
    return pages


class Undone:
    """What processes undo to semaphores at their end (SEM_UNDO), in all the IPC namespaces of a dump."""

    __slots__ = ("_holders", "_of", "_undo")

    def __init__(self, images: Images, namespaces: Namespaces, scope: Scope, views: Mapping[int, int]) -> None:
        """`views`: by pid of all processes, a thread of it that lives."""
        inner = {pid: scope.pids.inner(pid) for pid in views}
        self._of = {pid: namespaces.of("ipc", view).inode for pid, view in views.items()}
        self._undo: dict[int, sysv_sem.Undo] = {}
        self._holders: dict[int, int] = {}
        for ns in namespaces.foreign():
            if ns.kind == "ipc":
                fd = os.open(f"/proc/{ns.pid}/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    self._holders[ns.inode] = scope.hold("ipc", ns.inode, fd)  # its tasks are about to end
                finally:
                    os.close(fd)
                with entered(self._holders[ns.inode], "ipc"):
                    self._undo[ns.inode] = sysv_sem.Undo(images, ns.ident, inner.__getitem__)

    def ended(self, pid: int) -> None:
        """Look at what the end of a process has changed."""
        inode = self._of.get(pid, 0)
        if inode in self._undo:
            with entered(self._holders[inode], "ipc"):
                self._undo[inode].ended(pid)

    def write(self) -> None:
        """Add it to the images."""
        for undo in self._undo.values():
            undo.write()


def _numbers(name: str) -> list[int]:
    return [int(word) for word in proc.read_text(_SYS + name).split()]


def check(images: Images, ident: int) -> None:
    """BadImage, or Unsupported, before anything is made."""
    entry = images.read_one(_IMAGE, ident)
    if len(entry.sem_ctls) != 4:
        raise BadImage(images.name(_IMAGE, ident), 0, f"sem_ctls has {len(entry.sem_ctls)} numbers, not 4; dump again")
    sysv_shm.check(images, ident)
    sysv_msg.check(images, ident)
    sysv_sem.check(images, ident)


def restore(ctx: Context, images: Images, ident: int) -> sysv_shm.Held:
    """Make everything, in the IPC namespace that this process is in, as its owner.

    What is returned is to be kept until the tasks have attached their segments; it ends with this process too.
    """
    check(images, ident)
    entry = images.read_one(_IMAGE, ident)
    for name, text in _WIDE:
        _write(images, ident, name, text)
    held = sysv_shm.restore(ctx, images, ident, bool(entry.shm_rmid_forced))
    sysv_msg.restore(ctx, images, ident)
    sysv_sem.restore(ctx, images, ident)
    for field, name in _LIMITS:
        value = getattr(entry, field)
        if field == "sem_ctls":
            _write(images, ident, name, " ".join(map(str, value)))
        elif entry.HasField(field) and not (field == "auto_msgmni" and not value):  # which takes nothing but 0
            _write(images, ident, name, str(value))
    for field, name in _NEXT:
        if entry.HasField(field):
            _write(images, ident, name, str(_signed(getattr(entry, field))))
    return held


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _write(images: Images, ident: int, name: str, text: str) -> None:
    try:
        try:
            _put(name, text)
        except PermissionError:  # it is for nobody but the root of the user namespace that this one belongs to
            _put_as_owner(name, text)
    except OSError as e:
        what = f"{images.name(_IMAGE, ident)}: cannot write {text} to {_SYS}{name}: {e.strerror}"
        raise EngineError(what) from e


def _put(name: str, text: str) -> None:
    with open(_SYS + name, "wb") as f:  # bytes: codecs may be out of sight
        f.write(text.encode())


def _put_as_owner(name: str, text: str) -> None:
    owner = os.stat(_SYS + name).st_uid
    before = process.securebits()
    process.prctl(pr.PR_SET_SECUREBITS, before | _NO_SETUID_FIXUP)  # capabilities stay
    os.seteuid(owner)
    try:
        _put(name, text)
    finally:
        os.seteuid(0)
        process.prctl(pr.PR_SET_SECUREBITS, before)
        process.prctl(pr.PR_SET_DUMPABLE, 1)
