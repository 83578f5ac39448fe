"""Link remaps: a file that has lost the name it was opened by, but has another that nobody knows (--link-remap).

The dump links it to a new name next to the old one, link_remap.N, and the image says so. The restore opens it by that
and removes the name when it has succeeded. Whoever dumps a tree that runs on has no use for it: it is removed at once.
"""

from __future__ import annotations

import os

from engine.errors import EngineError, Unsupported
from engine.files import owner
from engine.files.fd import O_CLOEXEC, shown
from engine.images.schema import set_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.files.scope import Scope
    from engine.files.table import FileTable

_REG = 1  # fd_types.REG
_NUMBERS = 10000  # names that may be those of other dumps


def check(pid: int, name: str, st: os.stat_result, what: object, scope: Scope) -> None:
    """Unsupported unless links are permitted, and can be made."""
    it = f"{what}: {shown(name)}: the file has lost this name"
    if not scope.options.link_remap:
        raise Unsupported([f"{it}, but has {st.st_nlink} others: use --link-remap, or remove these too"])
    above = _directory(pid, name, st, scope)
    if not above:
        raise Unsupported([f"{it}, and no directory above it is left on its mount to link it to: make one"])
    directory = scope.open(pid, above, os.O_PATH | os.O_DIRECTORY)
    try:
        if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            raise Unsupported([f"{it}, and its mount is read-only: it cannot be linked; remount that writable first"])
    finally:
        os.close(directory)


def _directory(pid: int, name: str, st: os.stat_result, scope: Scope) -> str:
    """The nearest directory above a name that is there, on the same file system; "" for none."""
    above = os.path.dirname(name)
    while True:
        here = scope.stat(pid, above)
        if here is not None:
            return above if here.st_dev == st.st_dev else ""
        above = os.path.dirname(above)


class Links:
    """Those that a dump has made."""

    __slots__ = ("_files", "_ids", "_kept", "_made")

    def __init__(self, files: FileTable) -> None:
        self._files = files
        self._ids: dict[tuple[int, int, int], int] = {}
        self._made: list[tuple[int, str, str]] = []  # directory, name in it, whole name
        self._kept = False

    def add(self, where: str, name: str, st: os.stat_result) -> int:
        """The id of a file_entry for the new name of what the link `where` of procfs leads to."""
        # One for each mount, if the tree has its own: the kernel links within one only.
        key = (st.st_dev, st.st_ino, self._files.scope.mount_of(where) if self._files.scope.has_mounts else 0)
        if key not in self._ids:
            entry = self._files.extra()
            entry.type = _REG
            reg = entry.reg
            reg.id, reg.flags, reg.pos, reg.mode = entry.id, 0, 0, st.st_mode
            whole, mount = self._link(int(where.split("/")[2]), where, name, st)
            set_text(reg, "name", whole)
            if self._files.scope.has_mounts:
                reg.mnt_id = mount
            owner.dump(entry, None, self._files.scope)
            self._ids[key] = entry.id
        return self._ids[key]

    def _link(self, pid: int, where: str, name: str, st: os.stat_result) -> tuple[str, int]:
        """Returns the whole name of the link, and the mount that it is on."""
        scope = self._files.scope
        above = _directory(pid, name, st, scope)
        try:
            directory = scope.open(pid, above, os.O_PATH | os.O_DIRECTORY)
            last = ""
            try:
                last = _make(where, directory) if scope.ids is None else _make_inside(pid, where, directory)
            finally:
                if not last:
                    os.close(directory)
        except OSError as e:
            raise EngineError(f"cannot link {shown(name)} to another name in {shown(above)}: {e.strerror}") from e
        whole = f"{above.rstrip('/')}/{last}"
        self._made.append((directory, last, whole))
        return whole, scope.mount_of(f"/proc/self/fd/{directory}")

    def keep(self) -> None:
        """The dump has succeeded, and the tree ends."""
        self._kept = True

    def close(self) -> None:
        """Remove them, unless they are kept."""
        for directory, last, whole in self._made:
            if not self._kept:
                try:
                    os.unlink(last, dir_fd=directory)
                except OSError as e:
                    self._files.scope.log.warn(f"cannot remove {shown(whole)}: {e.strerror}; remove it by hand")
            os.close(directory)
        self._made.clear()


def _make_inside(pid: int, where: str, directory: int) -> str:
    """The same as root of a task's user namespace: on what is mounted there no other user can make anything."""
    from engine.kernel.namespaces import FLAGS, setns

    source = os.open(where, os.O_PATH | O_CLOEXEC)
    answers, answer = os.pipe()
    child = os.fork()
    if not child:
        text = b""
        try:
            user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | O_CLOEXEC)
            setns(user, FLAGS["user"])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            text = os.fsencode(_make(f"/proc/self/fd/{source}", directory))
        except OSError as e:
            text = f"/{e.errno}".encode()
        finally:
            os.write(answer, text)
            os._exit(0)
    os.close(answer)
    os.close(source)
    with open(answers, "rb") as f:
        name = os.fsdecode(f.read())
    os.waitpid(child, 0)
    if name.startswith("/"):
        raise OSError(int(name[1:]), os.strerror(int(name[1:])))
    if not name:
        raise OSError(0, "the user namespace cannot be entered")
    return name


def _make(where: str, directory: int) -> str:
    """linkat(2) what a link of procfs leads to; returns the name."""
    for number in range(1, _NUMBERS):
        last = f"link_remap.{number}"
        try:
            os.link(where, last, dst_dir_fd=directory, follow_symlinks=True)
        except FileExistsError:
            continue
        return last
    raise FileExistsError(0, f"link_remap.1 to link_remap.{_NUMBERS} are taken; remove those of failed restores")
