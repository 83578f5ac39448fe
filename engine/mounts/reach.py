"""Getting at the mounts of another mount namespace, those that others lie over included."""

from __future__ import annotations

import errno
import os

from engine.errors import EngineError, KernelError
from engine.kernel import mountinfo, mounts, namespaces, process
from engine.kernel.namespaces import FLAGS, entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.mountinfo import Mount
    from engine.mounts.tree import Tree


def reach(tree: Tree, wanted: list[Mount]) -> dict[int, int]:
    """Descriptors, by mount id, of new mounts of the same, with nothing mounted below and attached nowhere.

    The tree stays as it is. EngineError for what cannot be got at.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found: dict[int, int] = {}
    try:
        with entered(tree.pid, "mnt"):
            for mount in wanted:
                fd = _visible(proc, mount)
                if fd >= 0:
                    found[mount.mnt_id] = fd
        hidden = [m for m in wanted if m.mnt_id not in found]
        if hidden:
            found.update(_uncovered(proc, tree, hidden))
    except BaseException:
        for fd in found.values():
            os.close(fd)
        raise
    finally:
        os.close(proc)
    return found


def mount_id(proc: int, fd: int) -> int:
    """The id of the mount that a descriptor is of (proc_pid_fdinfo(5)), by a descriptor of /proc."""
    info = os.open(f"self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        for line in os.read(info, 4096).split(b"\n"):
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    finally:
        os.close(info)
    return -1


def _visible(proc: int, mount: Mount) -> int:
    """A clone of a mount that its own name leads to; -1 for one that is covered, or that refuses to be cloned."""
    if mount.flags & mounts.MS_UNBINDABLE:
        return -1
    try:
        fd = os.open(mount.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1  # something else is over a directory on the way
    try:
        return mounts.clone(fd) if mount_id(proc, fd) == mount.mnt_id else -1
    except KernelError as e:
        if e.errno != errno.EINVAL:  # what is locked below cannot be left out
            raise
        return -1
    finally:
        os.close(fd)


def _uncovered(proc: int, tree: Tree, hidden: list[Mount]) -> dict[int, int]:
    """The same for those that others cover: in a copy of the namespace, a process of ours takes the others away."""
    answers, answer = os.pipe()
    done, finish = os.pipe()
    child = namespaces.fork()
    if child == 0:
        try:
            os.close(finish)
            os.close(answers)
            send(answer, _expose(proc, tree, hidden))
            os.read(done, 1)
        finally:
            os._exit(0)
    try:
        os.close(answer)
        answer = -1
        words = receive(answers).split("\n")
        if words[0] != "ok":
            raise EngineError(f"mounts under others cannot be got at: {words[-1]}")
        numbers = [int(word) for word in words[1:] if word]
        pidfd = process.pidfd_open(child)
        try:
            return {m.mnt_id: process.pidfd_getfd(pidfd, n) for m, n in zip(hidden, numbers, strict=True)}
        finally:
            os.close(pidfd)
    finally:
        for fd in (answers, answer, done, finish):
            if fd >= 0:
                os.close(fd)
        os.waitpid(child, 0)


def send(fd: int, text: str) -> None:
    """Write all of it, and close."""
    data = os.fsencode(text)
    while data:
        data = data[os.write(fd, data) :]
    os.close(fd)


def receive(fd: int) -> str:
    """Read all that there is until the other end is closed."""
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return os.fsdecode(b"".join(parts))


def _expose(proc: int, tree: Tree, hidden: list[Mount]) -> str:
    """In the process of ours: "ok" and the numbers of the descriptors, or "error" and why."""
    try:
        enter_owner(tree.pid, "mnt")
        namespaces.unshare(FLAGS["mnt"])
        top = os.open("/", os.O_PATH | os.O_CLOEXEC)
        mounts.set_propagation(top, mounts.MS_PRIVATE, recursive=True)
        copy = _Copy(proc, tree, hidden)
        return "\n".join(["ok", *(str(copy.take(m)) for m in hidden)])
    except (EngineError, OSError) as e:
        return f"error\n{e}"


def enter_owner(pid: int, *names: str) -> None:
    """Enter a task's user namespace, if that is another one, and other ones: for a process that will end there."""
    opened = []
    for name in (() if process.same_namespace(pid, "user") else ("user",)) + names:
        opened.append((os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), FLAGS[name]))
    for fd, flag in opened:
        namespaces.setns(fd, flag)
        os.close(fd)


class _Copy:
    """A copy of a tree's mounts, in a namespace of our own, whose mounts can be taken away."""

    __slots__ = ("_copies", "_found", "_names", "_proc", "_wanted")

    def __init__(self, proc: int, tree: Tree, wanted: list[Mount]) -> None:
        from engine.mounts.tree import Tree as Mounts

        copies = Mounts(tree.ident, 0, mountinfo.parse(mountinfo.read_at(proc)))
        self._proc = proc
        self._copies = copies
        # One mount has one name, seen from the mount that it is on: so the copies are told.
        todo = [(tree.root, copies.root)]
        self._names: dict[int, Mount] = {}
        for mount, copy in todo:
            if mount and copy:
                self._names[mount.mnt_id] = copy
                points = {c.point: c for c in copies.children(copy)}
                todo += [(child, points.get(child.point)) for child in tree.children(mount)]
        self._wanted = {self._names[m.mnt_id].mnt_id for m in wanted if m.mnt_id in self._names}
        self._found: dict[int, int] = {}

    def take(self, mount: Mount) -> int:
        """A descriptor of a clone of the copy of a mount."""
        copy = self._names.get(mount.mnt_id)
        if copy is None:
            raise EngineError(f"{mount} has no copy")
        return self._get(copy)

    def _get(self, copy: Mount) -> int:
        while copy.mnt_id not in self._found:
            fd = os.open(copy.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            there = self._copies.by_id[mount_id(self._proc, fd)]
            if there is copy:
                self._found[copy.mnt_id] = mounts.clone(fd)
                os.close(fd)
                break
            os.close(fd)
            # What goes away with it comes first.
            for lost in (there, *self._copies.below(there)):
                if lost.mnt_id in self._wanted:
                    self._get(lost)
            mounts.umount(there.point, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
        return self._found[copy.mnt_id]
