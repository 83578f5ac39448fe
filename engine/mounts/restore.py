"""The restore of mount namespaces: every mount first plain, private and attached nowhere; then trees; then sharing.

A mount point is looked up in the plain mount that it is in, before anything is mounted there: so what covers what, and
the order in which it was mounted, does not matter, and nothing in an image leads out of the mount that is being built.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError, KernelError
from engine.images.schema import text
from engine.kernel import mounts, namespaces
from engine.kernel.mounts import MS_SLAVE
from engine.kernel.namespaces import FLAGS
from engine.mounts import files, filesystems
from engine.mounts import image as mnt_image
from engine.mounts.deleted import Deleted
from engine.mounts.external import External, is_below
from engine.mounts.reach import mount_id
from engine.mounts.restored import Restored, make_room
from engine.mounts.sharing import Sharing
from engine.mounts.tree import below
from engine.mounts.waiting import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.mounts.image import Planned
    from engine.mounts.peers import Peers

_IMAGE = "MNTS"


class Source:
    """Where mounts of a file system come from: a mount of its own, of what the file system has as `root`."""

    __slots__ = ("fd", "late", "root")

    def __init__(self, fd: int, root: str, late: list[str]) -> None:
        self.fd = fd
        self.root = root
        self.late = late  # options that are set when everything is there


def check(ctx: Context, images: Images, idents: list[int]) -> None:
    """Are the images what can be restored? BadImage or EngineError."""
    for ident in idents:
        mnt_image.read(images, ident)


def prepare(ctx: Context, images: Images, idents: list[int], root_ident: int, peers: Peers | None = None) -> Builder:
    """Read the images, and open what the user provides: in the root task's namespace, with the engine's own user ids.

    What the root of a user namespace may read is not enough for that: neither for paths nor for modules.
    """
    build = Builder(ctx, images, idents, root_ident)
    build.peers = peers
    build.open_given()
    return build


def restore(ctx: Context, images: Images, idents: list[int], root_ident: int) -> Restored:
    """Build all mount namespaces: that of the root task in place, where this process is too; EngineError.

    Afterwards the root and the working directory of this process, and of the tasks in it, are the new root.
    """
    build = prepare(ctx, images, idents, root_ident)
    try:
        return build.restore()
    finally:
        build.close()


class Builder:
    """What the modules of kinds get: `jobs` are waited for when all file systems have been made."""

    __slots__ = (
        *(
            "_deleted",
            "_external",
            "_given",
            "_late",
            "_namespaces",
            "_planned",
            "_made",
            "_root_ident",
            "_roots",
            "_sources",
            "_top",
        ),
        *("_trees", "at_end", "built", "covered", "ctx", "detached", "files", "images", "jobs", "namespaces", "peers"),
        *("owners", "pipes", "proc", "spaces", "waiting"),
    )

    def __init__(self, ctx: Context, images: Images, idents: list[int], root_ident: int) -> None:
        self.ctx = ctx
        self.images = images
        self.jobs: list[Any] = []
        self.peers: Peers | None = None
        self.files: Iterable[tuple[int, str]] = ()  # of the tree: mount ids, names
        self.detached: Iterable[Any] = ()  # reg_file_entries on mounts that were in no namespace
        self.covered: dict[tuple[int, str], int] = {}
        self.at_end: list[Callable[[], None]] = []  # when the tree is there
        self.built: dict[str, int] = {}  # descriptors that tasks are to have, by what they are promised as
        self.pipes: dict[int, tuple[int, int]] = {}  # pipes that are there already, by their numbers in images
        self.namespaces: dict[tuple[str, int], int] = {}  # descriptors
        self.owners: dict[int, int] = {}  # user namespaces below the tree's, by the mount namespaces that are theirs
        self.spaces: dict[int, dict[str, int]] = {}  # by mount namespace: those of a task in it
        self._deleted: Deleted | None = None
        self._late: set[int] = set()  # devices, as in the images
        self._made: list[tuple[Any, Any, int]] = []
        self._given: list[tuple[Planned, str, int]] = []
        self._external = External(ctx.options, dumping=False)
        self._root_ident = root_ident
        # The root task's last: with that the outside is out of sight.
        order = [ident for ident in idents if ident != root_ident] + [root_ident]
        self._trees = {ident: mnt_image.read(images, ident) for ident in order}
        self._planned = [mount for tree in self._trees.values() for mount in tree]
        make_room(len(self._planned))
        if ctx.options.cgroup_root:
            from engine.mounts import fs_cgroup

            fs_cgroup.move(self, self._planned)
        self._sources: dict[int, list[Source]] = {}
        self._namespaces: dict[int, int] = {}
        self._roots: dict[int, Planned] = {}
        self.waiting: Waiting | None = None
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def restore(self) -> Restored:
        """All of it."""
        self._provide()
        mounts.set_propagation(self._top, MS_SLAVE, recursive=True)
        self._make_all()
        self._bind_all()
        if any(mount.waits for mount in self._planned):
            self.waiting = Waiting(self)
        for ident, tree in self._trees.items():
            self._assemble(ident, tree)
        if not self.waiting:
            self._finish()
        restored = Restored(self._planned, self._roots, self._namespaces, self._root_ident)
        restored.covered = self.covered
        restored.trees = {(reg.mnt_id, "/") for reg in self.detached}
        restored.built, restored.pipes, restored.at_end = self.built, self.pipes, self.at_end
        return restored

    def complete(self, first: Mapping[int, tuple[int, list[int]]]) -> None:
        """Mount what had to wait; `first` has the first processes of pid namespaces (fs_proc.make)."""
        if self.waiting:
            self.waiting.complete(self, first, self._namespaces, self._root_ident)
        self._finish()

    def add(self, mount: Planned, fd: int) -> None:
        """A file system of which there was nothing before."""
        self._add(mount, fd, "/")

    def _finish(self) -> None:
        """What comes after the last mount."""
        Sharing(self, self._planned).restore()
        if self._deleted:
            self._deleted.remove()
        for module, entry, fd in self._made:
            module.finish(self, entry, fd)
        for source in (s for sources in self._sources.values() for s in sources):
            if source.late:
                mounts.reconfigure(source.fd, source.late)

    def close(self) -> None:
        """Let go of all that is not the result."""
        if self.waiting:
            self.waiting.close()
        if self._deleted:  # it failed
            self._deleted.remove()
        for source in (s for sources in self._sources.values() for s in sources):
            os.close(source.fd)
        for _, _, fd in self._given:
            os.close(fd)
        os.close(self.proc)
        os.close(self._top)
        if self.peers:
            self.peers.close()

    def image(self, mount: Planned | None = None) -> str:
        """The name of the image, for messages."""
        return self.images.name(_IMAGE, mount.ident if mount else self._root_ident)

    # What mounts are made of

    def open_given(self) -> None:
        """What the user gives: the root, and external mounts."""
        for mount in self._planned:
            module: Any = filesystems.module(mount.fstype)
            if hasattr(module, "prepare"):
                module.prepare(self, mount)
        root = self._trees[self._root_ident][0]
        if not self._external.has(root) and root.fstype in ("", "overlay"):
            self._open(self._root_directory(), root)
        for mount in self._planned:
            path = self._external.path(mount)
            if path is not None:
                self._open(path, mount)

    def _provide(self) -> None:
        """Mounts of what the user gives, and of namespaces."""
        for mount in self._planned:
            if mount.entry.HasField("ns_id"):
                from engine.mounts import fs_nsfs

                self._add(
                    mount, mounts.clone(fs_nsfs.find(mount.entry, self.namespaces, self.image(mount))), mount.root
                )
        while self._given:
            mount, path, fd = self._given.pop()
            try:
                self._add(mount, mounts.clone(fd), mount.root)
            except KernelError as e:
                raise EngineError(
                    f"{mount} is to be {path}, which cannot be bound: {e}; is anything mounted below it?"
                ) from e
            finally:
                os.close(fd)

    def _add(self, mount: Planned, fd: int, root: str, late: int = 0) -> None:
        options = [name for name, flag in mounts.SB_FLAGS.items() if late & flag]
        self._sources.setdefault(mount.entry.root_dev, []).append(Source(fd, root, options))

    def _open(self, path: str, mount: Planned) -> None:
        try:
            self._given.append((mount, path, os.open(path, os.O_PATH | os.O_CLOEXEC)))
        except OSError as e:
            raise EngineError(f"{mount} is to be {path}: {e.strerror}") from e

    def _root_directory(self) -> str:
        path = self.ctx.options.root or "/"
        try:
            here = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            above = os.open(path + "/..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise EngineError(f"--root {path}: {e.strerror}") from e
        try:
            if path != "/" and mount_id(self.proc, here) == mount_id(self.proc, above):
                raise EngineError(f"--root {path} is not a mount point: mount --bind {path} {path} first")
        finally:
            os.close(here)
            os.close(above)
        return path

    def source(self, mount: Planned) -> Source | None:
        """Where a mount can be bound from; None if that has to be made first."""
        for source in self.sources(mount.entry.root_dev):
            if is_below(mount.root, source.root):
                return source
        return None

    def whole(self, mount: Planned) -> int:
        """A new mount of all that there is of a file system, private and attached nowhere."""
        source = self.source(mount)
        if source is None:
            raise BadImage(self.image(mount), 0, f"{mount} is of no file system")
        fd = mounts.clone(source.fd)
        mounts.set_propagation(fd, mounts.MS_PRIVATE)
        return fd

    def is_shared_outside(self, mount: Planned) -> bool:
        """Is its group one of mounts outside?"""
        return self.peers is not None and mount.entry.mnt_id in self.peers and self._external.shares(mount)

    def outside(self, mount: Planned, fd: int) -> None:
        """Put a private mount of the same into the group that the mount outside is in, or behind its master."""
        if self.peers is None or mount.entry.mnt_id not in self.peers:
            raise EngineError(
                f"{mount} is a slave of mounts outside of the tree: restore with --enable-external-masters"
            )
        self.peers.join(mount, fd)

    def _make_all(self) -> None:
        for mount in self._planned:
            if self.source(mount) is None:
                if mount.entry.HasField("pid_ns_id") or hasattr(filesystems.module(mount.fstype), "LATE"):
                    self._late.add(mount.entry.root_dev)
                elif mount.entry.root_dev not in self._late:
                    self._make(mount)
        for job in self.jobs:
            job()
        self.jobs.clear()

    def _bind_all(self) -> None:
        """What was deleted comes last: for the time being it may take the name of something else."""
        planned = [m for m in self._planned if not self._is_late(m)]
        plain = [m for m in planned if m.ident not in self.owners]
        deleted = [m for m in planned if m.entry.deleted]
        self._deleted = Deleted(self)
        for mount in planned:
            if not mount.entry.deleted:
                self._bind(mount)
        for mount in self._planned:
            if mount.parent and not mount.parent.entry.deleted and not self._is_late(mount.parent):
                self._place(mount)
        for mount in deleted:
            self._bind(mount)
        for mount in self._planned:
            if mount.parent and mount.parent.entry.deleted:
                self._place(mount)
        for mount in plain:
            self.set_flags(mount)
        files.open_covered(self, [m for m in self._planned if m.ident not in self.owners])
        for reg in self.detached:
            files.open_detached(self, reg)

    def _is_late(self, mount: Planned) -> bool:
        """Is it of a file system that is made when all else is mounted?"""
        return mount.entry.root_dev in self._late

    def come_late(self, tree: list[Planned]) -> None:
        """The mounts of such file systems, and what is below them."""
        for mount in tree:
            if self._is_late(mount):
                if self.source(mount) is None:
                    self._make(mount)
                self._bind(mount)
                self.set_flags(mount)
            if mount.fd >= 0 and mount.parent and mount.at < 0:
                self._place(mount)
            self.attach(mount)

    def _make(self, mount: Planned) -> None:
        """A new file system."""
        kind = mount.fstype
        if not kind:
            raise EngineError(
                f"{mount} is a bind of {mount.root} of device {mount.entry.root_dev:#x}, which is not in the images: "
                "dump with --external mnt[...]"
            )
        entry = mount.entry
        module: Any = filesystems.module(kind)
        if hasattr(module, "make"):
            fd = module.make(self, mount)
            self._add(mount, fd, "/")
            self._made.append((module, entry, fd))
            return
        made = [option for option in text(entry.options).split(",") if option]
        filled = hasattr(module, "fill") or hasattr(module, "finish")
        flags = entry.flags & ~mounts.MS_RDONLY if filled else entry.flags
        fs = -1
        if entry.HasField("owner_ns_id"):
            from engine.mounts import inner

            fs = inner.open_fs(self, mount)
        try:
            device = self._external.device_path(mount)
            fd = mounts.make(kind, device, made, 0 if filled else entry.sb_flags, flags, fs=fs)
        except KernelError as e:
            raise EngineError(f"cannot make {mount}: {e}") from e
        root = module.root(self, entry) if module is not None and hasattr(module, "root") else "/"
        self._add(mount, fd, root, entry.sb_flags if filled else 0)
        if hasattr(module, "finish"):
            self._made.append((module, entry, fd))
        if module is not None and hasattr(module, "fill"):
            module.fill(self, entry, fd)

    def _bind(self, mount: Planned) -> None:
        source = self.source(mount)
        if source is None:
            raise BadImage(self.image(mount), 0, f"{mount} is of no file system")
        mount.fd = self._clone(source, mount)
        mounts.set_propagation(mount.fd, mounts.MS_PRIVATE)

    def _clone(self, source: Source, mount: Planned) -> int:
        name = below(mount.root, source.root)
        if mount.entry.deleted and self._deleted:
            return self._deleted.clone(source.fd, name, mount)
        if not name:
            return mounts.clone(source.fd)
        try:
            fd = mounts.exact(source.fd, name, os.O_PATH)
        except OSError as e:
            raise EngineError(f"{mount} is a bind of {mount.root}: {e.strerror}") from e
        try:
            return mounts.clone(fd)
        finally:
            os.close(fd)

    def set_flags(self, mount: Planned) -> None:
        """Those of the mount."""
        entry = mount.entry
        try:
            mounts.set_flags(mount.fd, entry.flags)
        except KernelError as e:
            raise EngineError(f"{mount}: {e}: flags that the user namespace may not change?") from e
        if entry.flags & mounts.MS_UNBINDABLE:
            mounts.set_propagation(mount.fd, mounts.MS_UNBINDABLE)

    # Trees

    def exact(self, root: int, name: str, flags: int) -> int:
        """Open a name in a mount that is being built."""
        return mounts.exact(root, name, flags)

    def _place(self, mount: Planned) -> None:
        parent = mount.parent
        if parent is None:
            return
        try:
            module: Any = filesystems.module(parent.fstype)
            exact = module.exact if hasattr(module, "exact") else _exact
            try:
                mount.at = exact(parent.fd, mount.within)
            except PermissionError:  # what is from outside may be closed to the tree's user namespace
                if self.peers is None:
                    raise
                mount.at = self.peers.open(parent.fd, mount.within)
        except OSError as e:
            raise EngineError(
                f"{mount}: {mount.within!r} is not in {parent}: {e.strerror}; is the root as it was at the dump?"
            ) from e

    def _assemble(self, ident: int, tree: list[Planned]) -> None:
        """Put the mounts of a namespace together, and make that the root."""
        if ident in self.owners:
            from engine.mounts import inner

            inner.assemble(self, ident, tree)
            return
        own = ident == self._root_ident
        back = -1
        if not own:
            back = self.own_namespace()
            namespaces.unshare(FLAGS["mnt"])
        if self._is_late(tree[0]):
            raise BadImage(self.image(tree[0]), 0, f"{tree[0]} is a root whose layers cannot be in it; dump again")
        top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mounts.attach(tree[0].fd, top)
            os.fchdir(tree[0].fd)
            mounts.pivot_root(".", ".")
            mounts.umount(".", mounts.MNT_DETACH)
            os.chdir("/")
            late: list[Planned] = []
            for mount in (mount for mount in tree[1:] if not mount.waits):
                if self._is_late(mount) or mount.parent in late:
                    late.append(mount)
                else:
                    self.attach(mount)
            self.come_late(late)
            self.made(ident, self.own_namespace(), tree)
        finally:
            os.close(top)
            if back >= 0:
                self.leave(back)

    def leave(self, back: int) -> None:
        """Go back to the namespace that work is done from; closes its descriptor."""
        namespaces.setns(back, FLAGS["mnt"])
        os.close(back)
        os.fchdir(self._top)
        os.chroot(".")

    def made(self, ident: int, fd: int, tree: list[Planned]) -> None:
        """A namespace, with all its mounts but for those that wait."""
        self._namespaces[ident] = fd
        self._roots[ident] = tree[0].topmost
        if self.waiting:
            self.waiting.mounts[ident] = [mount for mount in tree if mount.waits]

    def sources(self, dev: int) -> Iterable[Source]:
        """Where mounts of a device come from."""
        return self._sources.get(dev, ())

    def place(self, mount: Planned) -> None:
        """Look its mount point up once more: the mount that it is in is another one now."""
        if mount.at >= 0:
            os.close(mount.at)
            mount.at = -1
        if mount.parent and mount.parent.fd >= 0:
            self._place(mount)

    def attach(self, mount: Planned) -> None:
        """Mount it where it is placed."""
        try:
            mounts.attach(mount.fd, mount.at)
        except KernelError as e:
            raise EngineError(f"{mount}: {e}; a directory goes on a directory, a file on a file") from e
        os.close(mount.at)
        mount.at = -1

    def own_namespace(self) -> int:
        """A descriptor of the mount namespace that the caller is in."""
        return os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)


def _exact(root: int, name: str) -> int:
    return mounts.exact(root, name, os.O_PATH)
