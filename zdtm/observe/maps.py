"""Memory mappings from /proc/PID/smaps: addresses, permissions, files and VmFlags."""

import re
from dataclasses import dataclass, replace

from zdtm.observe.proc import read

# Soft-dirty is the tracking bit of checkpointing itself.
IGNORED_FLAGS = frozenset({"sd"})
# What engines add to the name of a deleted file when there is another file of that name: CRIU, and ours.
MADE_ANEW = re.compile(r"\.cr(?:_link|\.[0-9a-f]+\.ghost) \(deleted\)$")
# Made by O_TMPFILE: the number is the inode's.
UNNAMED = re.compile(r"/#\d+ \(deleted\)$")


@dataclass(frozen=True)
class Vma:
    """One mapping; `offset` is in bytes, 0 for what has no file."""

    start: int
    end: int
    perms: str
    offset: int
    file: str  # device, inode and path; "" for anonymous memory
    flags: str

    def __str__(self) -> str:
        return f"{self.start:012x}-{self.end:012x} {self.perms} {self.offset:08x} {self.file} [{self.flags}]"


def describe(pid: int, private_mounts: bool) -> list[str]:
    """A line a mapping; file systems that the tree has mounted by itself get other numbers, and so do their files.
    Neighbours that differ in nothing are joined: the kernel may keep them apart or not.

       [vsyscall] is none: it shows if a process, or whom it descends from, has ever executed a 64-bit program.
    """
    found = merged(parse(read(pid, "smaps")))
    if private_mounts:
        found = [replace(vma, file=re.sub(r"^00:[0-9a-f]+:\d+ ", "anonymous ", vma.file)) for vma in found]
    return [str(vma) for vma in found if not vma.file.endswith("[vsyscall]")]


def parse(smaps: str) -> list[Vma]:
    """The mappings of a smaps file, in order."""
    found: list[Vma] = []
    for line in smaps.splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            found.append(_header(first, rest))
        elif first == "VmFlags:":
            # Memory is charged while it is writable: an engine that fills a read-only mapping leaves the mark.
            ignored = IGNORED_FLAGS if "w" in found[-1].perms else IGNORED_FLAGS | {"ac"}
            flags = " ".join(flag for flag in rest.split() if flag not in ignored)
            found[-1] = replace(found[-1], flags=flags)
    return found


def name_of(path: str) -> str:
    """The name of a mapped or open file, where a restored one may have another for the same.

    CRIU makes shared anonymous memory anew as a memfd that is called so. A deleted file whose name has been taken since
    is made under another name, since taking that one, if only for a moment, would show.
    """
    name = path.removeprefix("/memfd:")
    if name in ("/dev/zero (deleted)", "/anon_hugepage (deleted)"):
        return name
    return UNNAMED.sub("/#inode (deleted)", MADE_ANEW.sub(" (deleted)", path))


def _header(addresses: str, rest: str) -> Vma:
    start, _, end = addresses.partition("-")
    perms, offset, device, inode, *path = rest.split(None, 4)
    name = path[0] if path else ""
    name = name_of(name)
    if inode == "0":
        return Vma(int(start, 16), int(end, 16), perms, 0, name, "")
    # A file without a name is made anew by a restore: its inode may differ.
    which = "" if name.endswith(" (deleted)") or name.startswith("anon_inode:") else f"{device}:{inode} "
    return Vma(int(start, 16), int(end, 16), perms, int(offset, 16), which + name, "")


def merged(vmas: list[Vma]) -> list[Vma]:
    """The same address space in the fewest pieces."""
    found: list[Vma] = []
    for vma in vmas:
        last = found[-1] if found else None
        if (
            last is not None
            and last.end == vma.start
            and (last.perms, last.file, last.flags) == (vma.perms, vma.file, vma.flags)
            and (vma.offset == 0 == last.offset or vma.offset == last.offset + last.end - last.start)
        ):
            found[-1] = replace(last, end=vma.end)
        else:
            found.append(vma)
    return found
