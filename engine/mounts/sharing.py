"""Propagation (mount_namespaces(7)): peers and slaves as they were, once all mounts are where they belong.

A group begins with a helper, a mount of the whole file system that is attached nowhere: so it can be put into the group
of its masters, and its own group is what members of any namespace are put into. Members are never changed otherwise.
"""

from __future__ import annotations

import os

from engine.errors import BadImage
from engine.kernel import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder


class Sharing:
    """The groups of all namespaces of a tree."""

    __slots__ = ("_build", "_helpers", "_members", "_slaves")

    def __init__(self, build: Builder, planned: list[Planned]) -> None:
        self._build = build
        self._helpers: dict[int, int] = {}
        self._members: dict[int, list[Planned]] = {}
        self._slaves: dict[int, list[Planned]] = {}
        for mount in planned:
            if mount.entry.shared_id:
                self._members.setdefault(mount.entry.shared_id, []).append(mount)
            elif mount.entry.master_id:
                self._slaves.setdefault(mount.entry.master_id, []).append(mount)

    def restore(self) -> None:
        """Masters before slaves."""
        try:
            for group, members in self._members.items():
                helper = self._helper(group, ())
                for member in members:
                    mounts.set_group(helper, member.fd)
            for master, slaves in self._slaves.items():
                for slave in slaves:
                    helper = self._behind(master, slave, ())
                    try:
                        mounts.set_group(helper, slave.fd)
                    finally:
                        os.close(helper)
        finally:
            for fd in self._helpers.values():
                os.close(fd)

    def _helper(self, group: int, seen: tuple[int, ...]) -> int:
        if group not in self._helpers:
            members = self._members[group]
            masters = {m.entry.master_id for m in members}
            if len(masters) != 1 or group in seen:
                raise BadImage(self._build.image(members[0]), 0, f"the masters of group {group} contradict each other")
            master = masters.pop()
            first = next(filter(self._build.is_shared_outside, members), members[0])
            if self._build.is_shared_outside(first):
                self._helpers[group] = helper = self._build.whole(first)
                self._build.outside(first, helper)
                return helper
            helper = self._behind(master, first, (*seen, group)) if master else self._build.whole(first)
            self._helpers[group] = helper
            mounts.set_propagation(helper, mounts.MS_SHARED)
        return self._helpers[group]

    def _behind(self, master: int, mount: Planned, seen: tuple[int, ...]) -> int:
        """A mount of the whole file system that is a slave of a group."""
        helper = self._build.whole(mount)
        if master in self._members:
            mounts.set_group(self._helper(master, seen), helper)
        else:
            self._build.outside(mount, helper)
        mounts.set_propagation(helper, mounts.MS_SLAVE)
        return helper
