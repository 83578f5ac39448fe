"""What events are read from: timerfd_create(2), signalfd(2), epoll(7), inotify(7), fanotify(7); open_by_handle_at(2).

Descriptors that are made here are close-on-exec, but for that of a fanotify group.
"""

from __future__ import annotations

import os

from engine.kernel._native import ffi, lib
from engine.kernel.call import check

_CLOEXEC = os.O_CLOEXEC  # of all the calls that make one
_PARAMS = 8  # bytes of struct epoll_params (linux/eventpoll.h)
_NS = 1_000_000_000


def timerfd(clock: int) -> int:
    """A timer (timerfd_create(2)). The clocks whose expiry wakes the machine take CAP_WAKE_ALARM."""
    return check(lib.zd_timerfd_create(clock, _CLOEXEC), f"timerfd_create({clock})")


def timerfd_settime(fd: int, flags: int, value: int, interval: int) -> None:
    """Start or, with value 0, stop a timer; times in ns."""
    times = (*divmod(value, _NS), *divmod(interval, _NS))
    call = f"timerfd_settime({flags:#x}, {value} ns, interval {interval} ns)"
    check(lib.zd_timerfd_settime(fd, flags, ffi.new("long long[4]", times)), call)


def timerfd_gettime(fd: int) -> tuple[int, int]:
    """(time to the next expiry, interval) in ns. Expiries of an interval are counted up to now by that."""
    times = ffi.new("long long[4]")
    check(lib.zd_timerfd_gettime(fd, times), "timerfd_gettime")
    return times[0] * _NS + times[1], times[2] * _NS + times[3]


def timerfd_ticks(fd: int, ticks: int) -> None:
    """Set how many expiries have not been read yet, at least one."""
    check(lib.zd_timerfd_ticks(fd, ticks), f"ioctl(TFD_IOC_SET_TICKS, {ticks})")


def signalfd(mask: int) -> int:
    """Signals of a mask, bit 0 for signal 1 (signalfd(2))."""
    return check(lib.zd_signalfd(mask, _CLOEXEC), f"signalfd(-1, {mask:#x})")


def epoll() -> int:
    """An empty epoll (epoll_create1(2))."""
    return check(lib.zd_epoll_create(_CLOEXEC), "epoll_create1")


def epoll_params(fd: int) -> bytes | None:
    """struct epoll_params of an epoll (EPIOCGPARAMS, ioctl_eventpoll(2)); None for a kernel without busy polling."""
    params = ffi.new("char[]", _PARAMS)
    if lib.zd_epoll_params(fd, 0, params) < 0:
        return None
    return bytes(ffi.buffer(params))


def epoll_set_params(fd: int, params: bytes) -> None:
    """Set them (EPIOCSPARAMS)."""
    check(lib.zd_epoll_params(fd, 1, ffi.new("char[]", params)), "ioctl(EPIOCSPARAMS)")


def kcmp_epoll(pid1: int, fd: int, pid2: int, epfd: int, tfd: int, nth: int) -> int:
    """kcmp(2) of a file that pid1 has, and what epoll `epfd` of pid2 watches as its `nth` file of number `tfd`.

    KernelError ENOENT when it watches no such file any more.
    """
    call = f"kcmp({pid1}, {pid2}, KCMP_EPOLL_TFD, {fd}, ({epfd}, {tfd}, {nth}))"
    return check(lib.zd_kcmp_epoll(pid1, fd, pid2, epfd, tfd, nth), call)


def inotify(nonblock: int = 0) -> int:
    """An inotify instance (inotify_init1(2))."""
    what = "raise fs.inotify.max_user_instances, which counts those of the user who restores"
    r = lib.zd_inotify_init(_CLOEXEC | nonblock)
    return check(r, "inotify_init1", what if r == -24 else "")


def inotify_watch(fd: int, path: str, mask: int, wd: int = 0) -> int:
    """Watch what a path leads to, under the number `wd` (0: any): takes that many calls. What is queued is lost.

    KernelError EEXIST when the instance has passed that number already.
    """
    r = lib.zd_inotify_watch(fd, os.fsencode(path), mask, wd)
    what = "raise fs.inotify.max_user_watches" if r == -28 else ""
    return check(r, f"inotify_add_watch({path!r}, {mask:#x}), number {wd}", what)


def inotify_overflow(fd: int) -> None:
    """Let an instance whose queue is empty say IN_Q_OVERFLOW, by having it overflow (20 ms). Takes two more numbers."""
    check(lib.zd_inotify_overflow(fd), "filling the queue of an inotify")


def fanotify(flags: int, event_flags: int) -> int:
    """A fanotify group (fanotify_init(2)); `event_flags` are those of the files that events will have.

    Close-on-exec if `flags` say so: fdinfo tells for good how it was made.
    """
    call = f"fanotify_init({flags:#x}, {event_flags:#o})"
    return check(lib.zd_fanotify_init(flags, event_flags), call)


def fanotify_mark(fd: int, flags: int, mask: int, path: str) -> None:
    """Add a mark (fanotify_mark(2))."""
    call = f"fanotify_mark({flags:#x}, {mask:#x}, {path!r})"
    check(lib.zd_fanotify_mark(fd, flags, mask, os.fsencode(path)), call)


def name_to_handle(fd: int) -> tuple[int, bytes]:
    """Type and bytes of the handle of what a descriptor is of (name_to_handle_at(2)); KernelError."""
    handle, size, kind = ffi.new("unsigned char[128]"), ffi.new("unsigned *"), ffi.new("int *")
    check(lib.zd_name_to_handle(fd, handle, size, kind), f"name_to_handle_at({fd})")
    return int(kind[0]), bytes(ffi.buffer(handle, size[0]))


def open_by_handle(mount: int, kind: int, handle: bytes) -> int:
    """What a file handle of name_to_handle_at(2) leads to, as O_PATH; `mount` is any file of that file system.

    KernelError ESTALE for nothing, EOPNOTSUPP where handles cannot be opened. Takes CAP_DAC_READ_SEARCH.
    """
    call = f"open_by_handle_at({handle.hex()}, type {kind:#x})"
    flags = os.O_PATH | os.O_NOFOLLOW | _CLOEXEC
    return check(lib.zd_open_by_handle(mount, kind, handle, len(handle), flags), call)
