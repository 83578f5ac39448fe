"""autofs (Documentation/filesystems/autofs.rst): mounts that ask a daemon of the tree, by a pipe, to mount something.

autofs-DEV.img has what the kernel's side of one is. Restored, it asks nobody at first; a task of the daemon's process
group then gives it the pipe (AUTOFS_DEV_IOCTL_SETPIPEFD): that group may look without being made to wait for itself.
"""

from __future__ import annotations

import os
import struct
from functools import partial

from engine.errors import BadImage, EngineError
from engine.images.schema import text
from engine.kernel import mounts, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images
    from engine.kernel.mountinfo import Mount
    from engine.mounts.dump import Dump
    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder
    from engine.mounts.tree import Tree
    from engine.plan.program import Arena, Program
    from engine.tasks.images import TreeImages
    from engine.tasks.opener import Opener

_IMAGE = "AUTOFS"
_DEVICE, _DEVICE_KEY = "/dev/autofs", "the autofs device"
_MODES = ("direct", "indirect", "offset")
# linux/auto_fs.h, linux/auto_dev-ioctl.h
_CATATONIC, _SETTIMEOUT, _SETPIPEFD = 0x9362, 0xC0089364, 0xC0189378
_SET_PIPE = struct.Struct("<IIIii4x")  # struct autofs_dev_ioctl: versions, size, ioctlfd, pipefd
_FEW = 256
_NUMBER = 18  # mnt_entry.fstype


def _parse(options: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (option.partition("=") for option in options)}


def _daemon(options: dict[str, str]) -> int:
    """A process of the daemon's group that reads from the pipe, 0 for none."""
    pipe = f"pipe:[{options.get('pipe_ino')}]"
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            is_one = proc.Stat(int(name)).pgid == int(options.get("pgrp", "0"))
            if is_one and any(os.readlink(f"/proc/{name}/fd/{fd}") == pipe for fd in proc.fds(int(name))):
                return int(name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return 0


def _asks(options: dict[str, str]) -> bool:
    return options.get("pipe_ino", "-1") != "-1"


def blockers(tree: Tree, mount: Mount) -> list[str]:
    """Its daemon has to be in the tree."""
    options = _parse(mount.options)
    if _asks(options):
        pid = _daemon(options)
        if not pid or os.readlink(f"/proc/{pid}/ns/pid") != os.readlink(f"/proc/{tree.pid}/ns/pid"):
            return [
                f"{mount}: its daemon (process group {options.get('pgrp')}) is not in the tree: dump both together, "
                f"unmount it, or --skip-mnt {mount.point}"
            ]
    return []


def dump(dump: Dump, entry: Any, fd: int) -> None:
    """Write its image. What is in it is for the daemon to know, but what the tree has mounted there."""
    options = _parse(text(entry.options).split(","))
    out = dump.ctx.schema.message("autofs_entry")()
    asks = _asks(options)
    out.fd = int(options["fd"])
    out.pgrp = int(options["pgrp"])
    for name in ("timeout", "minproto", "maxproto"):
        setattr(out, name, int(options[name]))
    out.mode = next((i for i, mode in enumerate(_MODES) if mode in options), 1)
    for name in ("uid", "gid"):
        if name in options:
            setattr(out, name, int(options[name]))
    if asks:
        pid = _daemon(options)
        if not pid:
            raise EngineError(f"autofs on {text(entry.mountpoint)}: its daemon is gone; dump again")
        out.pgrp = int(proc.status(pid)["NSpgid"].split()[-1])
        pipe = f"pipe:[{options['pipe_ino']}]"
        out.read_fd = next(n for n in proc.fds(pid) if os.readlink(f"/proc/{pid}/fd/{n}") == pipe)
    dump.images.write(_IMAGE, (entry.root_dev,), [out])


# Restore: the mount


def _read(images: Images, entry: Any) -> Any:
    name = images.name(_IMAGE, entry.root_dev)
    if not images.exists(_IMAGE, entry.root_dev):
        raise BadImage(name, 0, "it is missing: the kernel's side of an autofs; dump again")
    found = images.read(_IMAGE, entry.root_dev)[0]
    if not 0 <= found.mode < len(_MODES):
        raise BadImage(name, 0, f"mode {found.mode} is none of autofs; dump again")
    return found


def prepare(build: Builder, mount: Planned) -> None:
    """While what is outside can be seen."""
    if _DEVICE_KEY not in build.built and _asks(_parse(text(mount.entry.options).split(","))):
        try:
            build.built[_DEVICE_KEY] = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        except OSError as e:
            raise EngineError(f"{mount}: {_DEVICE}: {e.strerror}: load the module autofs4") from e


def make(build: Builder, mount: Planned) -> int:
    """A new one, with a pipe; its daemon's group is the opener's for now."""
    its = _read(build.images, mount.entry)
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # a group of the same pid namespace: it cannot be changed for one of another
    reader, writer = os.pipe2(os.O_CLOEXEC)
    options = [f"fd={writer}", f"minproto={its.minproto}", f"maxproto={its.maxproto}", _MODES[its.mode]]
    options += [f"{name}={getattr(its, name)}" for name in ("uid", "gid") if its.HasField(name)]
    try:
        fd = mounts.make("autofs", text(mount.entry.source), options, 0, mount.entry.flags)
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        for child in mount.children:
            if child.within:
                _make_directories(root, child.within)
        if its.timeout:
            from fcntl import ioctl

            ioctl(root, _SETTIMEOUT, its.timeout.to_bytes(8, "little"))
    except BaseException:
        os.close(reader)
        os.close(writer)
        raise
    wanted = _parse(text(mount.entry.options).split(","))
    if _asks(wanted):
        build.built[_key("root", mount.entry)] = root
        build.built[_key("pipe", mount.entry)] = os.dup(writer)
        build.pipes[int(wanted["pipe_ino"])] = reader, writer
    else:
        for one in (reader, writer, root):
            os.close(one)
    return fd


def _key(what: str, entry: Any) -> str:
    return f"autofs {what} {entry.root_dev}"


def _make_directories(root: int, name: str) -> None:
    done = ""
    for part in name.split("/"):
        done = f"{done}/{part}" if done else part
        try:
            os.mkdir(done, 0o755, dir_fd=root)
        except FileExistsError:
            continue


def exact(root: int, name: str) -> int:
    """As `mounts.exact`, which takes what could be mounted by a daemon for something that is; OSError."""
    fd = os.dup(root)
    for part in filter(None, name.split("/")):
        above, fd = fd, -1
        try:
            fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        finally:
            os.close(above)
    return fd


def finish(build: Builder, entry: Any, fd: int) -> None:
    """It asks nobody until a task gives it the pipe."""
    from fcntl import ioctl

    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        ioctl(root, _CATATONIC, 0)
    finally:
        os.close(root)


# Restore: the daemon


def find(images: Images, tree: TreeImages, idents: list[int]) -> dict[int, list[tuple[Any, Any]]]:
    """By the pid of who is to give it the pipe: mnt_entry and autofs_entry. BadImage."""
    out: dict[int, list[tuple[Any, Any]]] = {}
    seen = set()
    for ident in idents:
        for entry in images.read("MNTS", ident):
            is_one = entry.fstype == _NUMBER and not entry.ext_key and entry.root_dev not in seen
            if not is_one or not _asks(_parse(text(entry.options).split(","))):
                continue
            seen.add(entry.root_dev)
            its = _read(images, entry)
            pid = next((n.pid for n in tree.nodes if n.pgid == its.pgrp and not n.dead), 0)
            if not pid:
                raise BadImage(images.name(_IMAGE, entry.root_dev), 0, f"no task is in process group {its.pgrp}")
            out.setdefault(pid, []).append((entry, its))
    return out


def plan(program: Program, arena: Arena, opener: Opener, pidfd: int, found: list[tuple[Any, Any]]) -> None:
    """In the program of that task, which has nothing open yet but `pidfd`, the opener's.

    The pipe has its old number meanwhile, which the mount shows.
    """
    device, root, lowest = pidfd + 1, pidfd + 2, pidfd + 3
    for entry, its in found:
        note = partial(str, f"autofs on {text(entry.mountpoint)}")
        sources = [opener.built(_DEVICE_KEY), opener.built(_key("root", entry))]
        program.take(pidfd, sources, device, note)
        pipe = its.fd if lowest < its.fd < _FEW else lowest
        program.take(pidfd, [opener.built(_key("pipe", entry))], lowest, note)
        if pipe != lowest:
            program.sys("dup3", lowest, pipe, os.O_CLOEXEC)
            program.sys("close", lowest)
        data = _SET_PIPE.pack(1, 0, _SET_PIPE.size, root, pipe)
        program.sys("ioctl", device, _SETPIPEFD, arena.put(data), note=note)
        for number in (device, root, pipe):
            program.sys("close", number)
