"""What the three kinds of System V objects have in common: ipc_desc_entry, and ids that come back."""

from __future__ import annotations

from engine.errors import BadImage, EngineError
from engine.kernel import sysvipc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.images.files import Images
    from engine.namespaces.user import Ids

ID = {sysvipc.SHM: "shmid", sysvipc.SEM: "semid", sysvipc.MSG: "msqid"}
_NEXT = "/proc/sys/kernel/{}_next_id"


def describe(desc: Any, kind: str, row: dict[str, int], ids: Ids) -> int:
    """Fill an ipc_desc_entry with what `sysvipc.listed` has of an object; returns its id."""
    desc.id, desc.key, desc.mode = row[ID[kind]], row["key"] & 0xFFFFFFFF, row["perms"]
    desc.uid, desc.gid = ids.uid_inside(row["uid"]), ids.gid_inside(row["gid"])
    desc.cuid, desc.cgid = ids.uid_inside(row["cuid"]), ids.gid_inside(row["cgid"])
    return int(desc.id)


def check(images: Images, image: str, ident: int) -> list[Any]:
    """The entries of an image of objects, or none; BadImage where two have the same id or key."""
    if not images.exists(image, ident):
        return []
    entries = images.read(image, ident)
    name = images.name(image, ident)
    seen: set[tuple[str, int]] = set()
    for entry in entries:
        desc = entry.desc
        if desc.id > 0x7FFFFFFF:
            raise BadImage(name, 0, f"{desc.id} is no id of an IPC object; dump again")
        for what, value in (("id", desc.id), ("key", desc.key)):
            if (what, value) in seen and (what == "id" or value):
                raise BadImage(name, 0, f"two objects have the {what} {value:#x}; dump again")
            seen.add((what, value))
    return entries


def make(kind: str, desc: Any, name: str, get: Callable[[int, int], int]) -> int:
    """Make one object with its id by `get(key, mode)`, as by its creator; whose it is comes later: `own`."""
    path = _NEXT.format(kind)
    try:
        with open(path, "wb") as f:
            f.write(b"%d" % desc.id)
    except OSError as e:
        raise EngineError(f"{name}: cannot write {desc.id} to {path}: {e.strerror}") from e
    with sysvipc.creator(desc.cuid, desc.cgid):
        found = get(desc.key, desc.mode & sysvipc.MODE)
    if found != desc.id:
        raise EngineError(f"{name}: the kernel gave the {kind} object {desc.id} the id {found}: is that one taken?")
    return found


def own(kind: str, desc: Any, qbytes: int = 0) -> None:
    """Give an object to its owner, with its mode."""
    sysvipc.ipc_set(kind, desc.id, desc.uid, desc.gid, desc.mode, qbytes)
