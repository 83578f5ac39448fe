"""Files of /dev/net/tun (Documentation/networking/tuntap.rst): the device and the queue behind them; tunf.

The devices are links of the network namespace (engine/network/tun.py): restored, they are there, and are kept
until their files are attached. As in CRIU's images the file has an entry of a regular file besides, under the same id.
"""

from __future__ import annotations

import os
import struct
from fcntl import ioctl

from engine.blocks import closing, suppress
from engine.errors import BadImage, EngineError, Unsupported
from engine.files import regular
from engine.files.fd import Descriptor
from engine.files.held import Held
from engine.images.schema import text
from engine.kernel.namespaces import FLAGS, setns
from engine.kernel.sockets import net_inode
from engine.kernel.uapi import if_tun
from engine.network import tun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 15  # fd_types.TUNF


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a device of the engine's own network namespace that would be gone.

    Only of who is frozen it is asked: a copy of the file would keep the device of one that its task closes.
    """
    regular.check_name(d, scope)
    if not scope.frozen:
        return
    with closing(Held(d)) as held:
        name, flags = tun.flags_of(held.fd)
        inode = net_inode(held.fd)
    if inode == scope.namespaces.own["net"].inode and name and not flags & if_tun.IFF_PERSIST:
        raise Unsupported(
            [
                f"{d}: its device {name} is in the engine's own network namespace, and goes with the task: make it "
                "persistent (TUNSETPERSIST), or start the task in a network namespace of its own"
            ]
        )


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; what the kernel tells of the device by this file alone is left for that's images."""
    regular.dump(entry, d, files)
    entry.type = TYPE
    spaces = files.scope.namespaces
    tunf = entry.tunf
    tunf.id = entry.id
    with closing(Held(d)) as held:
        name, flags = tun.flags_of(held.fd)
        ns = spaces.find("net", net_inode(held.fd))
        if ns:  # else it is the survey's to refuse it
            tunf.ns_id = ns.ident
        if name:
            tunf.netdev = name
            if flags & if_tun.IFF_DETACH_QUEUE:
                tunf.detached = True
            if ns:
                spaces.tuns[ns.ident, name] = (flags, *tun.sizes(held.fd))


class Survey:
    """The network namespaces of files: they come back when a task is in them."""

    __slots__ = ("_files", "_frozen", "_own")

    def __init__(self, scope: Scope) -> None:
        self._own = scope.namespaces.own["net"].inode
        self._frozen = scope.frozen
        self._files: list[tuple[str, int]] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        if not self._frozen:
            return
        with closing(Held(d)) as held:
            self._files.append((str(d), net_inode(held.fd)))

    def blockers(self, pids: set[int]) -> list[str]:
        """`pids` are those of all threads of the tree."""
        there = {self._own}
        for pid in pids:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                there.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        return [
            f"{what}: it was opened in network namespace net:[{inode}], which no task is in; close it before the dump"
            for what, inode in self._files
            if inode not in there
        ]

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def path_entry(entry: Any) -> Any:
    """The entry of a regular file with the same id that goes before it."""
    out = type(entry)(type=regular.TYPE, id=entry.id)
    out.reg.CopyFrom(entry.reg)
    return out


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Open it in its network namespace, and attach it to its device, which is kept by it from then on."""
    tunf, name = entry.tunf, text(entry.tunf.netdev)
    if not entry.HasField("reg"):
        raise BadImage(opener.image, 0, f"file {entry.id:#x} is of a tun device, and there is no entry of its path")
    own = opener.entered.get(("net", opener.namespaces["net"]))
    its = opener.entered.get(("net", tunf.ns_id), own)
    if its != own and its is not None:
        setns(its, FLAGS["net"])
    try:
        fd = regular.open_again(entry, opener, flags)
        try:
            if name:
                _attach(fd, opener, tunf, name)
        except OSError as e:
            os.close(fd)
            raise EngineError(f"file {entry.id:#x}: cannot attach it to the device {name}: {e.strerror}") from e
    finally:
        if its != own and own is not None:
            setns(own, FLAGS["net"])
    return fd


def _attach(fd: int, opener: Opener, tunf: Any, name: str) -> None:
    link = _link(opener, tunf, name)
    ioctl(fd, if_tun.TUNSETIFF, tun.request(name, tun.settable(link.flags)))
    if link.sndbuf:
        ioctl(fd, if_tun.TUNSETSNDBUF, struct.pack("=i", link.sndbuf))
    if not link.flags & if_tun.IFF_PERSIST:  # the device was made to stay until now
        ioctl(fd, if_tun.TUNSETPERSIST, 0)
    if tunf.detached:
        ioctl(fd, if_tun.TUNSETQUEUE, tun.request("", if_tun.IFF_DETACH_QUEUE))


def _link(opener: Opener, tunf: Any, name: str) -> Any:
    """The tun_link_entry of a device; of one that has been there before as the kernel tells it."""
    images = opener.images
    if images.exists("NETDEV", tunf.ns_id):
        for link in images.read("NETDEV", tunf.ns_id):
            if text(link.name) == name and link.HasField("tun"):
                return link.tun
        raise BadImage(images.name("NETDEV", tunf.ns_id), 0, f"there is no tun device {name}, to which a file belongs")
    return tun.present(name, images.schema.message("tun_link_entry")())
