"""devpts: every mount is a file system of its own since Linux 4.7; its terminals come with the files of the tasks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.mountinfo import Mount
    from engine.namespaces.user import Ids


def options(mount: Mount, ids: Ids) -> list[str]:
    """CRIU asks for `newinstance` to tell it from the host's own."""
    return [*ids.options(mount.options), "newinstance"]
