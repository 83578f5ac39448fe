"""What --external says of network devices and namespaces, and sockets in other network namespaces."""

from __future__ import annotations

import os

from engine.kernel.namespaces import FLAGS, setns
from engine.kernel.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.options import Options

_IFNAMSIZ = 16  # linux/if.h, with the NUL


def given(options: Options, kind: str) -> dict[str, str]:
    """`--external KIND[IN]:OUT`, by IN; OUT is "" where none is given."""
    return options.externals.get(kind, {})


def is_name(name: str) -> bool:
    """Whether a link may have this name (it is part of paths of sysctls too)."""
    bad = not name or name in (".", "..") or len(os.fsencode(name)) >= _IFNAMSIZ
    return not bad and not any(c in "/:" or c.isspace() for c in name)


class Other:
    """A socket in another network namespace, which a descriptor stands for; the engine stays where it is."""

    __slots__ = ("fd", "route")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, FLAGS["net"])
            try:
                self.route = Netlink()
            finally:
                setns(own, FLAGS["net"])
        finally:
            os.close(own)

    def close(self) -> None:
        """Close the socket; the descriptor is the caller's."""
        self.route.close()
