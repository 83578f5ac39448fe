"""Files of the tree that nobody comes by any more when all is mounted, opened before: under mounts, or on none."""

from __future__ import annotations

import os

from engine.blocks import suppress
from engine.errors import BadImage, EngineError
from engine.images.schema import text
from engine.kernel import mounts
from engine.mounts import image
from engine.mounts.external import covers, is_below
from engine.mounts.tree import below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder


def open_covered(build: Builder, planned: list[Planned]) -> None:
    """Files of the tree that nobody comes by any more when all is mounted."""
    points = {m.entry.mnt_id: (m.parent.entry.mnt_id if m.parent else 0, m.point) for m in planned}
    by_id = {m.entry.mnt_id: m for m in planned}
    over: dict[int, list[str]] = {}
    for mnt_id, name in build.files:
        mount = by_id.get(mnt_id)
        if mount is None or mount.fd < 0 or not is_below(name, mount.point) or (mnt_id, name) in build.covered:
            continue
        if mnt_id not in over:
            over[mnt_id] = covers(points, mnt_id)
        if any(is_below(name, point) for point in over[mnt_id]):
            with suppress(OSError):  # then its name leads somewhere, or is said to lead nowhere
                build.covered[mnt_id, name] = mounts.exact(mount.fd, below(name, mount.point), os.O_PATH)


def open_detached(build: Builder, reg: Any) -> None:
    """A file on a mount that is in no namespace: all of one mount have the same."""
    key, root, name = (reg.mnt_id, "/"), text(reg.detached_root), text(reg.name)
    it = f"file {reg.id:#x}, {name} on a mount of {root} that is in no namespace"
    if not (image.is_clean(root) and image.is_clean(name)):
        raise BadImage("files.img", 0, f"{it}: these are no absolute names")
    source = next((s for s in build.sources(reg.detached_dev) if is_below(root, s.root)), None)
    if source is None:
        raise EngineError(f"{it}: its file system is not in the images")
    try:
        if key not in build.covered:
            at = mounts.exact(source.fd, below(root, source.root), os.O_PATH)
            fd = build.covered[key] = mounts.clone(at)
            os.close(at)
            mounts.set_propagation(fd, mounts.MS_PRIVATE)
            mounts.set_flags(fd, reg.detached_flags)
        if (reg.mnt_id, name) not in build.covered:
            build.covered[reg.mnt_id, name] = mounts.exact(build.covered[key], below(name, "/"), os.O_PATH)
    except OSError as e:
        raise EngineError(f"{it}: {e.strerror}") from e
