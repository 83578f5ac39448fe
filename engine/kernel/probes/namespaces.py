"""Probes of namespaces."""

from __future__ import annotations

import os
import time

from engine.kernel.probes import raw

DISTANCE = 100000  # s that the probe's monotonic clock is ahead


def userns() -> bool:
    """user_namespaces(7): a namespace of our own, with our own user in it."""
    uid = os.getuid()
    raw.unshare(raw.CLONE_NEWUSER)
    with open("/proc/self/uid_map", "w", encoding="ascii") as f:
        f.write(f"0 {uid} 1\n")
    return os.getuid() == 0


def cgroupns() -> bool:
    """cgroup_namespaces(7)."""
    before = os.readlink("/proc/self/ns/cgroup")
    raw.unshare(raw.CLONE_NEWCGROUP)
    return os.readlink("/proc/self/ns/cgroup") != before


def timens() -> bool:
    """time_namespaces(7): the offsets reach the children."""
    raw.unshare(raw.CLONE_NEWTIME)
    with open("/proc/self/timens_offsets", "w", encoding="ascii") as f:
        f.write(f"monotonic {DISTANCE} 0\n")
    before = time.monotonic()
    pid = raw.fork()
    if pid == 0:
        os._exit(0 if time.monotonic() - before > DISTANCE - 1 else 1)
    return os.waitpid(pid, 0)[1] == 0


def external_net_ns() -> bool:
    """setns(2): a network namespace that is not ours can be entered by its descriptor."""
    outer = os.open("/proc/self/ns/net", os.O_RDONLY)
    raw.unshare(raw.CLONE_NEWNET)
    inside = os.stat("/proc/self/ns/net").st_ino
    raw.setns(outer, raw.CLONE_NEWNET)
    return inside != os.fstat(outer).st_ino == os.stat("/proc/self/ns/net").st_ino
