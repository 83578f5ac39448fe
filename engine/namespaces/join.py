"""Namespaces that are there before a restore, and that it joins instead of making and filling them.

Those of --join-ns, whatever the tree was in before, and those that the dump has left out as external (`--external
net[INODE]:NAME`, `pid[INODE]:NAME`), of which --inherit-fd gives descriptors.
"""

from __future__ import annotations

import os

from engine.errors import BadOption, EngineError
from engine.images.schema import text
from engine.kernel.namespaces import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.images.files import Images
    from engine.options import Options

KINDS = ("net", "uts", "ipc", "time", "user", "cgroup", "mnt", "pid")
# Images that tell of external ones
_IMAGES = {"net": "NETNS", "pid": "PIDNS"}


class Joined:
    """One of --join-ns: `path` is its file."""

    __slots__ = ("kind", "path")

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = path

    def open(self) -> int:
        """A descriptor of it. BadOption for what is no namespace of that kind."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise BadOption(f"--join-ns {self.kind}:{self.path}: {e.strerror}") from e
        try:
            kind = _kind(fd)
        except OSError as e:
            os.close(fd)
            raise BadOption(f"--join-ns {self.kind}:{self.path}: it is no namespace") from e
        if kind != self.kind:
            os.close(fd)
            raise BadOption(f"--join-ns {self.kind}:{self.path}: it is a {kind} namespace")
        return fd


class Existing:
    """Descriptors of what is joined, by kind and number in the images: the root task's own, or further ones."""

    __slots__ = ("fds",)

    def __init__(self) -> None:
        self.fds: dict[tuple[str, int], int] = {}

    def of(self, namespaces: Mapping[str, int]) -> dict[str, int]:
        """Descriptors by kind, of those of a task's namespaces that are joined."""
        return {key[0]: self.fds[key] for key in namespaces.items() if key in self.fds}

    def __contains__(self, key: object) -> bool:
        return key in self.fds

    def __bool__(self) -> bool:
        return bool(self.fds)

    def close(self) -> None:
        """Close all of them."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


def existing(options: Options, images: Images, root: dict[str, int], nested: Iterable[tuple[str, int]]) -> Existing:
    """All that is joined. `root` are the numbers of the root task's namespaces, `nested` those of further ones.

    EngineError for an external one that nothing is given for.
    """
    out = Existing()
    try:
        for kind, one in joined(options).items():
            out.fds[kind, root[kind]] = _above(one.open())
        for kind, ident in (*root.items(), *nested):
            key = "" if (kind, ident) in out else _external(images, kind, ident)
            if key:
                other = f", or --join-ns {kind}:FILE" * (root[kind] == ident)
                out.fds[kind, ident] = _above(_inherited(options, images, kind, ident, key, other))
    except BaseException:
        out.close()
        raise
    return out


def _external(images: Images, kind: str, ident: int) -> str:
    """What one was called that was external to the dump, or ""."""
    image = _IMAGES.get(kind)
    if image is None or not images.exists(image, ident):
        return ""
    entry = images.read_one(image, ident)
    return text(entry.ext_key) if entry.HasField("ext_key") else ""


def _inherited(options: Options, images: Images, kind: str, ident: int, key: str, other: str) -> int:
    """A descriptor of ours for one that is given; `other` is another way to say which."""
    where = f"{images.name(_IMAGES[kind], ident)}: the {kind} namespace {key!r} was external to the dump"
    number = options.inherit_fds.get(key, -1)
    if number < 0:
        raise EngineError(f"{where}: give one: --inherit-fd fd[N]:{key}{other}")
    try:
        its = _kind(number)
    except OSError as e:
        raise EngineError(f"{where}: --inherit-fd fd[{number}]:{key} is no namespace") from e
    if its != kind:
        raise EngineError(f"{where}: --inherit-fd fd[{number}]:{key} is a {its} namespace")
    return os.dup(number)


def _above(fd: int) -> int:
    """The same file at a number that the arena and its like do not get."""
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, 64)
    finally:
        os.close(fd)


def joined(options: Options) -> dict[str, Joined]:
    """All of --join-ns, by kind. BadOption names what is wrong with one.

    NS:PID, NS:FILE, and with either UID and GID for a user namespace: user:PID,UID,GID.
    """
    out: dict[str, Joined] = {}
    for value in options.join_ns:
        kind, colon, rest = value.partition(":")
        if not colon or not rest:
            raise BadOption(f"--join-ns {value}: NS:PID or NS:FILE")
        if kind not in KINDS:
            raise BadOption(f"--join-ns {value}: {kind} namespaces cannot be joined; one of " + ", ".join(KINDS))
        if kind in out:
            raise BadOption(f"--join-ns {value}: a {kind} namespace is given twice")
        where, *more = rest.split(",")
        if more and kind != "user":
            raise BadOption(f"--join-ns {value}: only a user namespace takes ids")
        if more and (len(more) != 2 or not all(_is_number(x) for x in more)):
            raise BadOption(f"--join-ns {value}: a user and a group id come after the namespace: user:PID,UID,GID")
        path = f"/proc/{where}/ns/{kind}" if _is_number(where) else where
        if any(int(x) for x in more):
            raise BadOption(f"--join-ns {value}: a tree is restored by root of its user namespace: {kind}:{where},0,0")
        out[kind] = Joined(kind, path)
    return out


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _kind(fd: int) -> str:
    """The kind of a namespace (ioctl_ns(2)); OSError for what is none."""
    from fcntl import ioctl

    flag = ioctl(fd, 0xB703)  # NS_GET_NSTYPE
    return next(name for name, its in FLAGS.items() if its == flag)
