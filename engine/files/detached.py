"""Files on mounts that are in no namespace any more, or in none yet (MNT_DETACH of umount2(2); open_tree(2)).

Nothing tells where such a mount begins in its file system. The file's handle leads to the same file by another mount of
that, which the tree has: what the name there has more in front of the name here is the beginning.
"""

from __future__ import annotations

import os
import stat

from engine.errors import KernelError
from engine.files.fd import DELETED
from engine.images.schema import set_text
from engine.kernel import events, mountinfo
from engine.kernel.mounts import MS_NOSYMFOLLOW, MS_RELATIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.fd import Descriptor
    from engine.files.scope import Scope
    from engine.kernel.mountinfo import Mount

_SAME = 0xC0F  # bits of statvfs(3) that mount(2) has too: all that is not below
_ST_RELATIME, _ST_NOSYMFOLLOW = 0x1000, 0x2000


class Detached:
    """One mount: the device, as mountinfo numbers it, where it begins there, and its MS_ flags."""

    __slots__ = ("dev", "flags", "root")

    def __init__(self, dev: int, root: str, flags: int) -> None:
        self.dev = dev
        self.root = root
        self.flags = flags

    def write(self, reg: Any) -> None:
        """To a reg_file_entry."""
        reg.detached_dev, reg.detached_flags = self.dev, self.flags
        set_text(reg, "detached_root", self.root)


def find(d: Descriptor, scope: Scope) -> Detached | None:
    """The mount that a descriptor is of; None if no mount of the tree shows the same file."""
    if d.link.endswith(DELETED):
        return None
    dev = os.major(d.stat.st_dev) << 20 | os.minor(d.stat.st_dev)
    fd = os.open(d.path, os.O_PATH | os.O_CLOEXEC)
    try:
        kind, handle = events.name_to_handle(fd)
        seen = os.fstatvfs(fd).f_flag
    except KernelError:
        return None  # a file system without handles
    finally:
        os.close(fd)
    for mount in mountinfo.read(d.pid):
        if mount.dev == dev and not mount.deleted and (name := _name(mount, kind, handle, d, scope)):
            if d.link == "/":
                root = name
            elif name.endswith(d.link):
                root = name.removesuffix(d.link) or "/"
            else:
                continue
            flags = seen & _SAME | (MS_RELATIME if seen & _ST_RELATIME else 0)
            return Detached(dev, root, flags | (MS_NOSYMFOLLOW if seen & _ST_NOSYMFOLLOW else 0))
    return None


def _name(mount: Mount, kind: int, handle: bytes, d: Descriptor, scope: Scope) -> str:
    """What a file is called in its file system, by a mount that shows it; "" for one that does not."""
    try:
        top = scope.open(d.pid, mount.point, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return ""
    try:
        if scope.mount_of(f"/proc/self/fd/{top}") != mount.mnt_id:
            return ""
        found = events.open_by_handle(top, kind, handle)
        try:
            name, st = os.readlink(f"/proc/self/fd/{found}"), os.fstat(found)
        finally:
            os.close(found)
    except KernelError:
        return ""
    finally:
        os.close(top)
    point = mount.point.rstrip("/")
    is_it = (st.st_ino, stat.S_IFMT(st.st_mode)) == (d.stat.st_ino, stat.S_IFMT(d.stat.st_mode))
    if not is_it or name.endswith(DELETED) or not (name + "/").startswith(point + "/"):
        return ""
    return mount.root.rstrip("/") + name[len(point) :] or "/"
