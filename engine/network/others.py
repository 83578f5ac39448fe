"""The sysctls of a network namespace that CRIU's images have no place for, by name."""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError
from engine.network import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.context import Context

_ROOT = "/proc/sys/net"
_COVERED = {
    "ipv4": frozenset(sysctl.CONF4),
    "ipv6": frozenset(sysctl.CONF6),
}
# These say the same as others in other units, or what --external and the links themselves say.
_SKIPPED = frozenset(("retrans_time", "base_reachable_time", "addr_gen_mode", "ip_forward"))


def dump(entry: Any) -> None:
    """Add a net_sysctl for each that can be read and written, and is not in the entry's own fields."""
    own = set(sysctl.UNIX + sysctl.IPV4)
    with sysctl.Sysctls() as sysctls:
        for top, _, files in os.walk(_ROOT):
            where = top[len(_ROOT) + 1 :]
            family, _, rest = where.partition("/")
            covered = _COVERED[family] if rest.startswith("conf/") else _SKIPPED
            for file in files:
                name = f"{where}/{file}" if where else file
                if file in covered or file in _SKIPPED or name in own:
                    continue
                try:
                    fd = sysctls.open(name, os.O_RDWR)  # not even root opens one for what its mode forbids
                except PermissionError:
                    continue
                try:
                    value = os.fsdecode(os.read(fd, 4096))
                except OSError:  # EIO, EOPNOTSUPP: it has no value now
                    continue
                finally:
                    os.close(fd)
                entry.sysctls.add(name=name, value=value.strip())


def check(entry: Any, image: str) -> None:
    """BadImage for a name that leads elsewhere."""
    for one in entry.sysctls:
        if not one.name or any(part in ("", ".", "..") for part in one.name.split("/")) or "\0" in one.name:
            raise BadImage(image, 0, f"{one.name!r} is no name of a sysctl")


def restore(ctx: Context, entry: Any) -> None:
    """Set what differs: defaults before what follows them, and again as long as some allow others."""
    todo = sorted(((one.name, one.value) for one in entry.sysctls), key=lambda x: ("/default/" not in x[0], x[0]))
    with sysctl.Sysctls() as sysctls:
        while todo:
            left, refused = [], None
            for name, value in todo:
                try:
                    sysctls.put(ctx, name, value)
                except EngineError as e:
                    left.append((name, value))
                    refused = e
            if len(left) == len(todo) and refused:
                raise refused
            todo = left
