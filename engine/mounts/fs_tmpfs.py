"""tmpfs: its content is a compressed tar archive, tmpfs-dev-DEV.tar.gz.img (tmpfs-ID.tar.gz.img in old images).

tar(1) writes and reads it, as with CRIU: contents never pass through Python objects. It knows no sockets; those are in
the mount's entry.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.blocks import suppress
from engine.errors import BadImage, EngineError
from engine.images.schema import set_text, text
from engine.kernel import namespaces, process
from engine.kernel.namespaces import FLAGS
from engine.mounts import inner
from engine.namespaces import errand
from engine.namespaces.errand import become_root
from engine.namespaces.user import Ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.kernel.mountinfo import Mount
    from engine.mounts.dump import Dump
    from engine.mounts.restore import Builder

_IMAGE, _OLD_IMAGE = "TMPFS_DEV", "TMPFS_IMG"
_COMMON = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--quoting-style=escape", "--directory=.")
# Of the times only that of the last change can be set; the format has it in nanoseconds.
_CREATE = (
    *("tar", "--create", *_COMMON, "--sparse", "--format=posix", "--pax-option=delete=atime,delete=ctime"),
    *("--atime-preserve=system", "--one-file-system", "--no-wildcards", "."),
)
_EXTRACT = ("tar", "--extract", *_COMMON, "--preserve-permissions", "--same-owner", "--delay-directory-restore")
_GZIP, _GUNZIP = ("gzip", "-1"), ("gzip", "-d")
_IGNORED = ": socket ignored"


def options(mount: Mount, ids: Ids) -> list[str]:
    """The limits, and who the root belongs to, as the namespace calls them."""
    return ids.options(mount.options)


def dump(dump: Dump, entry: Any, fd: int) -> None:
    """Start to write the archive; the end is waited for by a job of the dump."""
    directory = os.dup(fd)
    owner = dump.owners.get(entry.root_dev, 0)
    ids = Ids.of_task(owner) if owner else dump.ids
    out = dump.images.create_raw(_IMAGE, entry.root_dev)
    try:
        job = _Tar(_CREATE, directory, out, _space_of(owner or dump.ctx.options.tree))
    finally:
        os.close(out)

    def wait() -> None:
        try:
            said = job.end(f"cannot save the content of {text(entry.source)} on {text(entry.mountpoint)}")
            for line in said.splitlines():
                if line.endswith(_IGNORED):
                    _add_socket(ids, entry, directory, line.removesuffix(_IGNORED).removeprefix("tar: "))
        finally:
            os.close(directory)

    dump.jobs.append(wait)


def _add_socket(ids: Ids, entry: Any, directory: int, shown: str) -> None:
    name = shown.encode("latin-1", "surrogateescape").decode("unicode_escape").encode("latin-1")
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    node = entry.sockets.add()
    set_text(node, "name", name)
    node.mode = stat.S_IMODE(found.st_mode)
    node.uid, node.gid = ids.shown("uid", found.st_uid), ids.shown("gid", found.st_gid)
    node.mtime_ns = found.st_mtime_ns


def fill(build: Builder, entry: Any, fd: int) -> None:
    """Start to read the archive into a new file system, by a descriptor of its root."""
    images = build.images
    if images.exists(_IMAGE, entry.root_dev):
        archive = images.open_raw(_IMAGE, entry.root_dev)
    elif images.exists(_OLD_IMAGE, entry.mnt_id):
        archive = images.open_raw(_OLD_IMAGE, entry.mnt_id)
    else:
        raise BadImage(images.name(_IMAGE, entry.root_dev), 0, "the content of a tmpfs is missing; dump again")
    space = inner.user_space(build, entry)
    try:
        job = _Tar(_EXTRACT, fd, archive, os.dup(space) if space >= 0 else -1)
    finally:
        os.close(archive)

    def wait() -> None:
        job.end(f"cannot restore the content of {text(entry.source)} on {text(entry.mountpoint)}")
        if entry.sockets and space >= 0:
            errand.as_root(space, lambda: _make_sockets(build, fd, entry), f"sockets on {text(entry.mountpoint)}")
        else:
            _make_sockets(build, fd, entry)

    build.jobs.append(wait)


def _make_sockets(build: Builder, fd: int, entry: Any) -> None:
    for node in entry.sockets:
        try:
            _make_socket(build, fd, node)
        except OSError as e:
            where = f"{text(entry.source)} on {text(entry.mountpoint)}"
            raise EngineError(f"cannot make the socket {text(node.name)!r} of {where}: {e.strerror}") from e


def _make_socket(build: Builder, root: int, node: Any) -> None:
    where, _, name = text(node.name).rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise BadImage(build.image(), 0, f"a socket in a tmpfs is called {text(node.name)!r}")
    parent = build.exact(root, where or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = os.fstat(parent)
        os.mknod(name, stat.S_IFSOCK | 0o600, dir_fd=parent)
        os.chown(name, node.uid, node.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, node.mode & 0o7777, dir_fd=parent)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=parent, follow_symlinks=False)
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(parent)


def _space_of(pid: int) -> int:
    """A descriptor of a task's user namespace, -1 for the engine's own."""
    if process.same_namespace(pid, "user"):
        return -1
    return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _execute(args: tuple[str, ...]) -> None:
    """What PATH has of that name. os.execvpe imports a module for it, which may be out of reach by now. OSError."""
    path = os.environ.get("PATH", os.defpath)
    for directory in path.split(":"):
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.execve(f"{directory or '.'}/{args[0]}", args, {"PATH": path, "LC_ALL": "C"})
    raise FileNotFoundError(errno.ENOENT, f"nothing in PATH can be executed: {path}")


class _Tar:
    """tar(1) at work in a directory, in a user namespace, as that tells the owners; and gzip(1) behind it.

    `space` is a descriptor of that, -1: the engine's own; it is closed.
    tar could start gzip by itself, but does so by a shell, which has its own things to say.
    """

    __slots__ = ("_pids", "_said")

    def __init__(self, args: tuple[str, ...], directory: int, archive: int, space: int) -> None:
        self._pids: list[int] = []
        reads = args is _EXTRACT
        self._said, said = os.pipe()
        out, into = os.pipe()
        try:
            if reads:
                self._start(_GUNZIP, -1, archive, into, said, -1)
                self._start(args, directory, out, -1, said, space)
            else:
                self._start(args, directory, -1, into, said, space)
                self._start(_GZIP, -1, out, archive, said, -1)
        finally:
            for fd in (said, out, into, space):
                if fd >= 0:
                    os.close(fd)

    def _start(self, args: tuple[str, ...], directory: int, source: int, target: int, said: int, space: int) -> None:
        pid = namespaces.fork()
        if pid:
            self._pids.append(pid)
            return
        try:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            numbers = [os.dup(null if fd < 0 else fd) for fd in (source, target, said)]
            if directory >= 0:
                os.fchdir(directory)
            for number, fd in enumerate(numbers):
                os.dup2(fd, number)
            if space >= 0:
                namespaces.setns(space, FLAGS["user"])
                become_root()
            os.umask(0)
            _execute(args)
        except (OSError, EngineError) as e:
            os.write(2, f"{args[0]}: {e}\n".encode(errors="replace"))
        finally:
            os._exit(127)

    def end(self, what: str) -> str:
        """What they had to say; EngineError if one failed."""
        parts = []
        try:
            while part := os.read(self._said, 65536):
                parts.append(part)
        finally:
            os.close(self._said)
            ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self._pids]
        said = os.fsdecode(b"".join(parts))
        if any(ends):
            raise EngineError(f"{what}: tar(1), gzip(1): {said.strip() or f'they ended with status {ends}'}")
        return said
