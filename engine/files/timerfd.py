"""Timers that are read (timerfd_create(2)): clock, flags, what is left, interval, expiries that nobody has read yet.

What counts is what was left at the dump, as for other timers, but for a time of day (TFD_TIMER_ABSTIME by
CLOCK_REALTIME): that stays the same, and may have passed meanwhile. Times are in ns.
"""

from __future__ import annotations

import os
import time

from engine.blocks import closing
from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.files.held import Held
from engine.kernel import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

TYPE = 17  # fd_types.TIMERFD
_NS = 1_000_000_000
_ABSOLUTE, _CANCEL_ON_SET = 1, 2  # TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET
# CLOCK_REALTIME, MONOTONIC, BOOTTIME, REALTIME_ALARM, BOOTTIME_ALARM: by which of them the time is read
_CLOCKS = {0: 0, 1: 1, 7: 7, 8: 0, 9: 7}
_REALTIME = 0


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a clock that there was not when this was written."""
    if int(d.info["clockid"]) not in _CLOCKS:
        raise Unsupported([f"{d}: clock {d.info['clockid']} is not supported; close it before the dump"])


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry. The timer of a descriptor of the frozen task goes on; expiries up to now are counted."""
    entry.type = TYPE
    tfd = entry.tfd
    tfd.id = entry.id
    tfd.flags = d.flags & ~O_CLOEXEC
    tfd.clockid = int(d.info["clockid"])
    tfd.settime_flags = int(d.info["settime flags"], 8)
    with closing(Held(d)) as held:
        left, interval = events.timerfd_gettime(held.fd)
        now = time.clock_gettime_ns(_CLOCKS[tfd.clockid])
        tfd.ticks = int(held.info()["ticks"])
    tfd.vsec, tfd.vnsec = divmod(left, _NS)
    tfd.isec, tfd.insec = divmod(interval, _NS)
    if left and tfd.settime_flags & _ABSOLUTE and _CLOCKS[tfd.clockid] == _REALTIME:
        tfd.expiry = now + left
    if tfd.ticks and left and tfd.settime_flags & _CANCEL_ON_SET and not interval:
        files.scope.log.warn(f"{d}: the clock has been set: restored, read(2) will not fail with ECANCELED for that")


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Make it anew, and start it."""
    if not entry.HasField("tfd"):
        raise BadImage(opener.image, 0, f"file {entry.id:#x} is a timerfd without a timerfd_entry")
    tfd = entry.tfd
    if tfd.clockid not in _CLOCKS:
        raise BadImage(opener.image, 0, f"file {entry.id:#x}: clock {tfd.clockid} is unknown")
    fd = events.timerfd(tfd.clockid)
    try:
        if tfd.flags & os.O_NONBLOCK:
            os.set_blocking(fd, False)
        _start(fd, tfd)
    except KernelError as e:
        os.close(fd)
        raise KernelError(e.call, e.errno, f"file {entry.id:#x} of {opener.image}") from e
    return fd


def _start(fd: int, tfd: Any) -> None:
    left, interval = tfd.vsec * _NS + tfd.vnsec, tfd.isec * _NS + tfd.insec
    if interval and not left and tfd.ticks:  # CRIU's images: it has expired, and goes on when it is read
        left = 1
    value = left
    if left and tfd.settime_flags & _ABSOLUTE:
        value = tfd.expiry if tfd.HasField("expiry") else time.clock_gettime_ns(_CLOCKS[tfd.clockid]) + left
    if left or interval or tfd.settime_flags:
        events.timerfd_settime(fd, tfd.settime_flags, value, interval)
    if tfd.ticks:
        events.timerfd_ticks(fd, tfd.ticks)
