"""Probes of files, descriptors and mounts."""

from __future__ import annotations

import os
import socket
from fcntl import LOCK_EX, flock, ioctl
from struct import pack

from engine.kernel.probes import raw

CLOCK_MONOTONIC = 1
TFD_IOC_SET_TICKS = 0x40085400  # _IOW('T', 0, __u64)
AT_FDCWD = -100
RESOLVE_NO_SYMLINKS = 4
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_SET_GROUP = 0x04, 0x40, 0x100
SIOCUNIXFILE = 0x89E0


def mnt_id() -> bool:
    """proc(5): mnt_id in fdinfo."""
    with open("/proc/self/status", "rb") as f:
        return any(line.startswith("mnt_id:") for line in raw.fdinfo(f.fileno()))


def fdinfo_lock() -> bool:
    """proc(5): the locks of a descriptor in its fdinfo."""
    fd = os.memfd_create("zdtm", os.MFD_CLOEXEC)
    try:
        flock(fd, LOCK_EX)
        return any(line.startswith("lock:") and "FLOCK" in line for line in raw.fdinfo(fd))
    finally:
        os.close(fd)


def timerfd() -> bool:
    """proc(5): timerfds in fdinfo; linux/timerfd.h: TFD_IOC_SET_TICKS."""
    fd = raw.c("timerfd_create", CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
    told = {line.split(":")[0] for line in raw.fdinfo(fd)}
    raw.c("timerfd_settime", fd, 0, raw.buffer(pack("4q", 0, 0, 3600, 0)), 0)
    ioctl(fd, TFD_IOC_SET_TICKS, pack("Q", 3))
    return told >= {"clockid", "ticks", "it_value", "it_interval"} and os.read(fd, 8) == pack("Q", 3)


def openat2() -> bool:
    """openat2(2), and it resolves as it is told."""
    how = raw.buffer(pack("QQQ", os.O_RDONLY | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS))
    fd = raw.syscall("openat2", AT_FDCWD, b"/proc/version", how, 24)
    os.close(fd)
    try:
        raw.syscall("openat2", AT_FDCWD, b"/proc/self/status", how, 24)
    except OSError:
        return True
    return False


def autofs() -> bool:
    """Documentation/filesystems/autofs.rst: a mount tells the inode of its pipe."""
    place = raw.scratch()
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    data = f"fd={writer},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
    raw.mount("zdtm", place, "autofs", 0, data)
    return any(
        line.split()[4] == place and " - autofs " in line and f"pipe_ino={inode}" in line
        for line in raw.lines("/proc/self/mountinfo")
    )


def move_mount_set_group() -> bool:
    """move_mount(2): MOVE_MOUNT_SET_GROUP gives one mount the peer group of another one."""
    place = raw.scratch()
    a, b = f"{place}/a", f"{place}/b"
    os.mkdir(a)
    os.mkdir(b)
    raw.mount("none", a, "tmpfs")
    raw.mount(a, b, "", raw.MS_BIND)
    raw.mount("none", a, "", raw.MS_SHARED)
    source, target = os.open(a, os.O_PATH), os.open(b, os.O_PATH)
    flags = MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    raw.syscall("move_mount", source, b"", target, b"", flags)
    return any(line.split()[4] == b and " shared:" in line for line in raw.lines("/proc/self/mountinfo"))


def overlayfs_maps() -> bool:
    """A mapping of a file of an overlay is shown with the device and inode that stat(2) tells."""
    import mmap

    place = raw.scratch()
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{place}/{name}")
    with open(f"{place}/lower/file", "wb") as f:
        f.write(b"x" * raw.PAGE)
    data = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    raw.mount("none", f"{place}/merged", "overlay", 0, data)
    path = f"{place}/merged/file"
    fd = os.open(path, os.O_RDONLY)
    with mmap.mmap(fd, raw.PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ):
        stat = os.fstat(fd)
        device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
        return any(
            line.split()[3:6] == [device, str(stat.st_ino), path]
            for line in raw.lines("/proc/self/maps")
            if line.endswith(path)
        )


def sk_unix_file() -> bool:
    """linux/un.h: SIOCUNIXFILE opens the file that a socket is bound to."""
    path = f"{raw.scratch()}/socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.bind(path)
        fd = ioctl(s, SIOCUNIXFILE)
        return os.fstat(fd).st_ino == os.stat(path).st_ino
