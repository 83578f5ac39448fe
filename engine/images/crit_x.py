"""crit x: what a directory of images holds: processes, file numbers, mappings, and pages in memory."""

from __future__ import annotations

from engine.images.crit_names import unix_name_text
from engine.images.pagemap import pages_in
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from engine.images.files import Images

_PAGE = 4096  # bytes

# vma_entry.status
_VSYSCALL, _VDSO, _HEAP, _FILE_PRIVATE, _FILE_SHARED = 1 << 2, 1 << 3, 1 << 5, 1 << 6, 1 << 7
_ANON_SHARED, _SYSVIPC, _SOCKET, _VVAR, _MEMFD, _REGULAR = 1 << 8, 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 0
_MAP_GROWSDOWN = 0x100

# The images of long ago that files.img has replaced: kind of image, then type of file.
_OLD_FILES = {
    "REG_FILES": "REG",
    "PIPES": "PIPE",
    "UNIXSK": "UNIXSK",
    "FIFO": "FIFO",
    "INETSK": "INETSK",
    "EVENTFD_FILE": "EVENTFD",
}


def processes(images: Images) -> Iterator[str]:
    """The tree: pid, process group, session and name of each process, children further to the right."""
    tree = images.read("PSTREE")
    children: dict[int, list[Any]] = {}
    for task in tree:
        children.setdefault(task.ppid, []).append(task)
    pids = {task.pid for task in tree}
    yield f"{'PID':>7}{'PGID':>8}{'SID':>8}   COMM"
    waiting = [(task, 0) for task in reversed(tree) if task.ppid not in pids or task.ppid == task.pid]
    shown: set[int] = set()
    while waiting:
        task, depth = waiting.pop()
        if task.pid in shown:
            continue
        shown.add(task.pid)
        core = images.read_one("CORE", task.pid)
        yield f"{task.pid:7}{task.pgid:8}{task.sid:8}   {' ' * 4 * depth}{text(core.tc.comm)}"
        waiting += [(child, depth + 1) for child in reversed(children.get(task.pid, []))]


def descriptors(images: Images) -> Iterator[str]:
    """File numbers of each process, and what they are; then working and root directory."""
    files = _Files(images)
    for task in images.read("PSTREE"):
        yield str(task.pid)
        ids = _ids(images, task.pid)
        ident = ids.files_id if ids is not None and images.read_one("INVENTORY").fdinfo_per_id else task.pid
        if images.exists("FDINFO", ident):
            for entry in images.read("FDINFO", ident):
                yield f"\t{entry.fd:7}: {files.describe(entry.type, entry.id)}"
        if images.exists("FS", task.pid):
            fs = images.read_one("FS", task.pid)
            yield f"\t{'cwd':>7}: {files.path(fs.cwd_id)}"
            yield f"\t{'root':>7}: {files.path(fs.root_id)}"


def mappings(images: Images) -> Iterator[str]:
    """The executable and the memory mappings of each process."""
    files = _Files(images)
    for pid, mm, vmas in _spaces(images):
        yield str(pid)
        yield f"\t{'exe':<36}    {files.path(mm.exe_file_id)}"
        for vma in vmas:
            prot = "".join(letter if vma.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
            span = f"{vma.start:x}-{vma.end:x}"
            yield f"\t{span:<36}{prot} {_vma_name(files, vma)}".rstrip()


def resident(images: Images) -> Iterator[str]:
    """The runs of pages in the pagemap of each process (address / pages), beside the mappings that they are in."""
    files = _Files(images)
    for pid, _, vmas in _spaces(images):
        yield str(pid)
        if not images.exists("PAGEMAP", pid):
            continue
        last = 0
        for entry in images.read_pagemap("PAGEMAP", pid)[1]:
            count = pages_in(entry)
            end = entry.vaddr + count * _PAGE
            left = f"{entry.vaddr:x} / {count}"
            for vma in vmas:
                if vma.end <= entry.vaddr or vma.start >= end:
                    continue
                right, name = "~", ""
                if vma.start != last:
                    right = f"{vma.start:x} / {(vma.end - vma.start) // _PAGE}"
                    name = files.path(vma.shmid) if vma.status & (_FILE_PRIVATE | _FILE_SHARED) else ""
                yield f"\t{left:<24}{right:<24}{name}".rstrip()
                left, last = "", vma.start
            if left:
                yield f"\t{left:<24}outside of all mappings"


EXPLORERS: dict[str, Callable[[Images], Iterator[str]]] = {
    "ps": processes,
    "fds": descriptors,
    "mems": mappings,
    "rss": resident,
}


class _Files:
    """The open files of the tree, by id."""

    __slots__ = ("_entries", "_memfds", "_types")

    def __init__(self, images: Images) -> None:
        self._types = images.schema.enum("fd_types")
        self._entries: dict[tuple[int, int], Any] = {}
        if images.exists("FILES"):
            for entry in images.read("FILES"):
                for field, value in entry.ListFields():
                    if field.name not in ("type", "id"):
                        self._entries[entry.type, entry.id] = value
        for kind, name in _OLD_FILES.items():
            if images.exists(kind):
                self._entries.update({(self._types[name], entry.id): entry for entry in images.read(kind)})
        inodes = images.read("MEMFD_INODE") if images.exists("MEMFD_INODE") else []
        self._memfds = {inode.inode_id: text(inode.name) for inode in inodes}

    def path(self, ident: int) -> str:
        """The path of a regular file or directory."""
        entry = self._entries.get((self._types["REG"], ident))
        return self.memfd(ident) if entry is None else text(entry.name)

    def memfd(self, ident: int) -> str:
        """The name of a memfd, as /proc/PID/maps has it."""
        entry = self._entries.get((self._types["MEMFD"], ident))
        return f"unknown file {ident}" if entry is None else f"memfd:{self._memfds.get(entry.inode_id, '?')}"

    def describe(self, kind: int, ident: int) -> str:
        """What a file is: a path, a pipe or unix socket with its inode, otherwise type and id."""
        name = next((name for name, number in self._types.items() if number == kind), str(kind))
        entry = self._entries.get((kind, ident))
        if entry is not None and name == "REG":
            return text(entry.name)
        if entry is not None and name == "PIPE":
            return f"pipe[{entry.pipe_id}]"
        if entry is not None and name == "UNIXSK":
            return f"unix[{entry.ino} ({entry.peer}){' ' * bool(entry.name)}{unix_name_text(entry.name)}]"
        return f"{name}.{ident}"


def _ids(images: Images, pid: int) -> Any:
    if images.exists("IDS", pid):
        return images.read_one("IDS", pid)
    core = images.read_one("CORE", pid)
    return core.ids if core.HasField("ids") else None


def _spaces(images: Images) -> Iterator[tuple[int, Any, list[Any]]]:
    """The address space of each process that has one (a zombie has not): pid, mm_entry, mappings."""
    for task in images.read("PSTREE"):
        if images.exists("MM", task.pid):
            mm = images.read_one("MM", task.pid)
            old = not mm.vmas and images.exists("VMAS", task.pid)
            yield task.pid, mm, images.read("VMAS", task.pid) if old else list(mm.vmas)


def _vma_name(files: _Files, vma: Any) -> str:
    """What a mapping is of; "(s)" after shared ones, "*" after what is not dumped like ordinary memory."""
    status, name = vma.status, ""
    if status & _MEMFD:
        name = files.memfd(vma.shmid)
    elif status & (_FILE_PRIVATE | _FILE_SHARED):
        name = files.path(vma.shmid)
    elif status & _ANON_SHARED:
        name = "sysvipc" if status & _SYSVIPC else f"shmem.{vma.shmid}"
    elif status & _SOCKET:
        name = f"packet[{vma.shmid}]"
    elif vma.flags & _MAP_GROWSDOWN:
        name = "[stack]"
    for bit, special in ((_VDSO, "[vdso]"), (_VVAR, "[vvar]"), (_VSYSCALL, "[vsyscall]"), (_HEAP, "[heap]")):
        if status & bit:
            name = special
    if vma.pgoff and status & (_FILE_PRIVATE | _FILE_SHARED):
        name += f" + {vma.pgoff:#x}"
    if status & (_FILE_SHARED | _ANON_SHARED):
        name += " (s)"
    return name if status & _REGULAR else f"{name} *"
