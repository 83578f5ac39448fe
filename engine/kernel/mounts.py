"""Mounting (mount(2), fsopen(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2)) by descriptors.

All raise KernelError. A mount that is attached nowhere goes away with the last descriptor of it.
"""

from __future__ import annotations

import errno
import os

from engine.errors import KernelError
from engine.kernel._native import ffi, lib
from engine.kernel.call import check

# sys/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_SYNCHRONOUS, MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW = 16, 64, 128, 256
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC = 0x400, 0x800, 0x1000, 0x4000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

# linux/mount.h
MOVE_MOUNT_SET_GROUP = 0x100
OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_SYMLINK_NOFOLLOW = 0x1000, 0x8000, 0x100
# linux/openat2.h: RESOLVE_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH
_EXACT = 1 | 2 | 4 | 8
_SET_FLAG, _SET_STRING, _CREATE, _RECONFIGURE = 0, 1, 6, 7
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _NODIRATIME, _NOSYMFOLLOW = 1, 2, 4, 8, 0x80, 0x200000
_ATIME, _NOATIME, _STRICTATIME = 0x70, 0x10, 0x20
_ATTRIBUTES = (
    (MS_RDONLY, _RDONLY),
    (MS_NOSUID, _NOSUID),
    (MS_NODEV, _NODEV),
    (MS_NOEXEC, _NOEXEC),
    (MS_NODIRATIME, _NODIRATIME),
    (MS_NOSYMFOLLOW, _NOSYMFOLLOW),
)
_ALL_ATTRIBUTES = _RDONLY | _NOSUID | _NODEV | _NOEXEC | _NODIRATIME | _NOSYMFOLLOW | _ATIME
# flags of a superblock, by their names for fsconfig(2) and in mountinfo
SB_FLAGS = {
    "ro": MS_RDONLY,
    "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC,
    "mand": MS_MANDLOCK,
    "lazytime": MS_LAZYTIME,
}


def attributes(flags: int) -> int:
    """The MOUNT_ATTR_ bits for MS_ flags of one mount; relatime is what there is without any."""
    out = sum(attr for flag, attr in _ATTRIBUTES if flags & flag)
    if flags & MS_NOATIME:
        return out | _NOATIME
    return out if flags & MS_RELATIME else out | _STRICTATIME


def set_flags(mount: int, flags: int) -> None:
    """Give one mount exactly these MS_ flags (not those of propagation)."""
    wanted = attributes(flags)
    call = f"mount_setattr({mount}, {wanted:#x})"
    check(lib.zd_mount_setattr(mount, _AT_EMPTY_PATH, wanted, _ALL_ATTRIBUTES & ~wanted | _ATIME, 0), call)


def is_locked(mount: int, flag: int, flags: int = 0) -> bool:
    """May one of the MS_ flags of a mount not be cleared (MS_NOATIME: times not be changed from those of `flags`)?

    Where it may, it is.
    """
    if flag == MS_NOATIME:
        times = _STRICTATIME if flags & MS_NOATIME else _NOATIME
        result = lib.zd_mount_setattr(mount, _AT_EMPTY_PATH, times, _ATIME, 0)
    else:
        result = lib.zd_mount_setattr(mount, _AT_EMPTY_PATH, 0, attributes(flag) & ~_ATIME, 0)
    if result < 0 and result != -errno.EPERM:
        raise KernelError(f"mount_setattr({mount}, flag {flag:#x})", -result)
    return bool(result < 0)


def set_propagation(mount: int, how: int, recursive: bool = False) -> None:
    """MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE."""
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    check(lib.zd_mount_setattr(mount, flags, 0, 0, how), f"mount_setattr({mount}, propagation {how:#x})")


def set_group(source: int, target: int) -> None:
    """Put a private mount into the sharing group, and behind the master, of another one of the same file system."""
    call = f"move_mount({source}, {target}, MOVE_MOUNT_SET_GROUP)"
    check(lib.zd_move_mount(source, target, MOVE_MOUNT_SET_GROUP), call)


def clone(at: int, name: str = "", recursive: bool = False) -> int:
    """A new mount of what is at a name below a descriptor, or of that itself, attached nowhere."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW
    flags |= (0 if name else _AT_EMPTY_PATH) | (_AT_RECURSIVE if recursive else 0)
    return check(lib.zd_open_tree(at, os.fsencode(name), flags), f"open_tree({at}, {name!r}, OPEN_TREE_CLONE)")


def attach(mount: int, at: int) -> None:
    """Mount it on what a descriptor is of, or on top of what is mounted there."""
    check(lib.zd_move_mount(mount, at, 0), f"move_mount({mount}, {at})")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    args = [ffi.NULL if a is None else os.fsencode(a) for a in (source, target, kind, data)]
    check(lib.zd_mount(args[0], args[1], args[2], flags, args[3]), f"mount({source!r}, {target!r}, {kind}, {flags:#x})")


def umount(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2)."""
    check(lib.zd_umount(os.fsencode(target), flags), f"umount2({target!r}, {flags:#x})")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2): every task's root and working directory that was the old root moves as well."""
    check(lib.zd_pivot_root(os.fsencode(new), os.fsencode(old)), f"pivot_root({new!r}, {old!r})")


def open_fs(kind: str) -> int:
    """fsopen(2): who calls it is who the file system will belong to, and whose namespaces it will be of."""
    return check(lib.zd_fsopen(kind.encode()), f"fsopen({kind})")


def make(
    kind: str,
    source: str,
    options: list[str],
    sb_flags: int = 0,
    flags: int = MS_RELATIME,
    fs: int = -1,
) -> int:
    """Make a file system; a descriptor of its only mount, attached nowhere.

    `options` are "name" or "name=value", `flags` MS_ flags of the mount. `fs` is of `open_fs`, where that was somebody
    else's to call, and is closed.
    """
    if fs < 0:
        fs = open_fs(kind)
    try:
        if source:
            _configure(fs, kind, "source", source)
        _options(fs, kind, options)
        for name, flag in SB_FLAGS.items():
            if sb_flags & flag:
                _configure(fs, kind, name, None)
        _command(fs, kind, _CREATE)
        result = int(lib.zd_fsmount(fs, attributes(flags)))
        return check(result, f"fsmount({kind})", _complaints(fs) if result < 0 else "")
    finally:
        os.close(fs)


def reconfigure(mount: int, options: list[str]) -> None:
    """Change the options of the file system of a mount."""
    fs = check(lib.zd_fspick(mount), f"fspick({mount})")
    try:
        _options(fs, "reconfigure", options)
        _command(fs, "reconfigure", _RECONFIGURE)
    finally:
        os.close(fs)


def _options(fs: int, kind: str, options: list[str]) -> None:
    for option in options:
        key, equals, value = option.partition("=")
        _configure(fs, kind, key, value if equals else None)


def _configure(fs: int, kind: str, key: str, value: str | None) -> None:
    command = _SET_FLAG if value is None else _SET_STRING
    raw = ffi.NULL if value is None else os.fsencode(value)
    result = lib.zd_fsconfig(fs, command, os.fsencode(key), raw)
    if result < 0:
        raise KernelError(f"fsconfig({kind}, {key!r}, {value!r})", -result, _complaints(fs))


def _command(fs: int, kind: str, command: int) -> None:
    result = lib.zd_fsconfig(fs, command, ffi.NULL, ffi.NULL)
    if result < 0:
        what = "create" if command == _CREATE else "reconfigure"
        raise KernelError(f"fsconfig({kind}, {what})", -result, _complaints(fs))


def _complaints(fs: int) -> str:
    """What the file system has to say about an error."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(fs, 4096)
        except OSError:  # ENODATA: that was all
            return "; ".join(lines)
        lines.append(os.fsdecode(line).strip().partition(" ")[2])


def exact(root: int, name: str, flags: int) -> int:
    """Open a name below a directory that has neither symbolic links nor `..` in it; "" is the directory itself.

    Nothing that is mounted below is entered. OSError.
    """
    if not name and flags == os.O_PATH:
        return os.dup(root)  # it may be a file
    raw = os.fsencode(name) or b"."
    fd = int(lib.zd_openat2(root, raw, flags | os.O_CLOEXEC, 0, _EXACT))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), name)
    return fd
