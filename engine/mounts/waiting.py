"""Mounts that wait for tasks: procfs of pid namespaces that are not there before (fs_proc.py), and all below these."""

from __future__ import annotations

import os

from engine.kernel import namespaces
from engine.kernel.namespaces import FLAGS
from engine.mounts import fs_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder

    # by pid namespace
    Firsts = Mapping[int, tuple[int, list[int]]]


class Waiting:
    """Those of all mount namespaces, by the numbers of these."""

    __slots__ = ("_view", "mounts")

    def __init__(self, build: Builder) -> None:
        """While a procfs can be seen, without which a user namespace makes none: a namespace keeps what is there."""
        self.mounts: dict[int, list[Planned]] = {}
        back = build.own_namespace()
        try:
            namespaces.unshare(FLAGS["mnt"])
            self._view = build.own_namespace()
        finally:
            build.leave(back)

    def complete(self, build: Builder, first: Firsts, spaces: Mapping[int, int], own: int) -> None:
        """Mount them. `first` has first processes (fs_proc.make), `spaces` mount namespaces; back to `own`."""
        try:
            namespaces.setns(self._view, FLAGS["mnt"])
            for mount in (m for tree in self.mounts.values() for m in tree):
                if mount.entry.HasField("pid_ns_id") and build.source(mount) is None:
                    build.add(mount, fs_proc.make(mount, *first[mount.entry.pid_ns_id]))
            for ident, tree in self.mounts.items():
                namespaces.setns(spaces[ident], FLAGS["mnt"])
                build.come_late(tree)
        finally:
            namespaces.setns(spaces[own], FLAGS["mnt"])

    def close(self) -> None:
        """Let go of what could be seen."""
        os.close(self._view)
