"""File descriptors: number, target, flags, position, and what the kernel adds for their kind."""

import os
import stat

from zdtm.observe.maps import name_of
from zdtm.observe.proc import PROC, read

NAMELESS = tuple(
    f"{kind}:[" for kind in ("pipe", "socket", "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
)
# What is another one each time: the number of an eventfd, the rest of a timer, and what of it has not been read; where
# the thread that polls an io_uring runs, and what it has spent.
PASSING = ("eventfd-id", "it_value", "ticks", "SqThreadCpu", "SqTotalTime", "SqWorkTime")
# What there may be many of: of an epoll, of inotify and fanotify. Which objects these are is for the case to check:
# those without a name are made anew by a restore.
WATCHES = ("tfd:", "inotify ", "fanotify ")
ANEW = ("ino", "pos", "sdev", "mnt_id", "fhandle-bytes", "fhandle-type", "f_handle")


def watch(line: str) -> str:
    """One line of what is watched, without what may differ."""
    words = line.replace(":", ": ").split()
    pairs = {word[:-1]: words[i + 1] for i, word in enumerate(words) if word.endswith(":")}
    return "".join(f" {key}={value}" for key, value in pairs.items() if key not in ANEW)


def describe(
    pid: int, mount_points: dict[int, str], positions: bool, nameless: dict[str, str], private_mounts: bool
) -> list[str]:
    """A line each; `mount_points` are those of the task's namespace, by mnt_id.

    `nameless` are the tree's pipes, sockets, namespaces and BPF maps: restored ones have other
    numbers, but each number is still one of them. So have files of file systems that the tree has mounted by itself
    and that are on no device.
    """
    lines = []
    for number in sorted(int(name) for name in os.listdir(PROC / str(pid) / "fd")):
        link = f"/proc/{pid}/fd/{number}"
        target = name_of(os.readlink(link))
        if target.startswith(NAMELESS):
            target = nameless.setdefault(target, f"{target.partition('[')[0]}[number {len(nameless) + 1} of the tree]")
        said = read(pid, f"fdinfo/{number}").splitlines()
        listed = [line.split(":", 1) for line in said if ":" in line and not line.startswith(WATCHES)]
        info = dict(listed)
        mount = mount_points.get(int(info.pop("mnt_id", "0")), "none")
        info.pop("ino", None)  # follows from the identity below, where it is to be kept
        position = info.pop("pos").strip() if positions else info.pop("pos") and "?"
        flags = info.pop("flags").strip()
        if "NSpid" in info:  # a pidfd: its process as its own namespace numbers it
            info["Pid"] = info["NSpid"] = info["NSpid"].split()[-1]
        if info.get("SqThread", "-1").strip() != "-1":  # which polls an io_uring
            info["SqThread"] = "there"
        if "SqMask" in info and not positions:  # an io_uring, whose positions are many
            info = {key: info[key] for key in ("SqMask", "CqMask")}
        if "map_id" in info:  # a BPF map, which the kernel numbers
            info["map_id"] = nameless.setdefault(f"map {info['map_id']}", f"number {len(nameless) + 1} of the tree")
        if locks := sorted(lock(value) for key, value in listed if key == "lock"):
            info["lock"] = ", ".join(locks)
        rest = "".join(f" {key}={' '.join(value.split())}" for key, value in info.items() if key not in PASSING)
        if positions:
            rest += "".join(sorted(watch(line) for line in said if line.startswith(WATCHES)))
        which = identity(link, target, mount, nameless if private_mounts else None)
        lines.append(f"{number}: {target} [{which}] mount={mount} flags={flags} pos={position}{rest}")
    return lines


def lock(line: str) -> str:
    """One lock, without its number in the list, its inode, which is the file's, and the pid of who took it.

    Who took it may have ended; then it is that of any who has it now.
    """
    _, kind, mode, type_, _, _, start, end = line.split()
    return f"{kind} {mode} {type_} {start} {end}"


def identity(link: str, target: str, mount: str, nameless: dict[str, str] | None) -> str:
    """What kind of file it is, and which one.

    A file without a name, or with one that is on no mount, like a message queue's, is made anew by a restore: its inode
    may differ. What procfs has of a task is made anew by whoever looks it up, and only then belongs to the task's user.
    """
    try:
        found = os.stat(link)
    except OSError as error:
        return f"stat: {error.strerror}"
    if target.startswith("/proc/") and target.split("/")[2].isdecimal():
        return stat.filemode(found.st_mode)
    what = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if target.endswith(" (deleted)") or not target.startswith("/") or (mount == "none" and target.count("/") == 1):
        return what
    if nameless is not None and os.major(found.st_dev) == 0:
        file = f"{found.st_dev}:{found.st_ino}"
        return f"{what} {nameless.setdefault(file, f'file number {len(nameless) + 1} of the tree')}"
    return f"{what} {os.major(found.st_dev)}:{os.minor(found.st_dev)}:{found.st_ino}"
