"""Shared memory without a name in any directory: memfds (memfd_create(2)), and shared anonymous memory.

Both are inodes of the kernel's own shmem (or hugetlbfs) mount; the second kind is called /dev/zero, and has descriptors
only where somebody has opened it through /proc/PID/map_files. memfd.img has the inodes, files.img the struct files of
each: those of descriptors, and one for all mappings. Contents are in engine/memory/shmem.py.
"""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, KernelError
from engine.files.fd import O_CLOEXEC, Descriptor, may_be_memfd
from engine.images.schema import set_text, text
from engine.kernel import shmem as objects
from engine.kernel.uapi import mman as mm
from engine.memory import shmem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.external import Given
    from engine.files.links import Links
    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.kernel import proc
    from engine.namespaces.user import Ids
    from engine.tasks.images import TaskImages

TYPE = 18  # fd_types.MEMFD
ANONYMOUS, ANONYMOUS_HUGE = "/dev/zero", "/anon_hugepage"  # the inode's name, for shared anonymous memory
PREFIX, DELETED = "/memfd:", " (deleted)"
FILE_SHARED, ANON_SHARED, SYSVIPC, MEMFD = 1 << 7, 1 << 8, 1 << 10, 1 << 14  # vma_entry.status
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 16
_HUGE_SHIFT, _HUGE_MASK = 26, 0x3F  # where flags have the logarithm of the size of huge pages
F_SEAL_SEAL, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC = 0x1, 0x8, 0x10, 0x20
_ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
_IMAGE = "memfd.img"
_HUGE = "/sys/kernel/mm/hugepages"


def find(name: str, st: os.stat_result) -> int | None:
    """Is what a link of procfs leads to such an object? None if not, else its flags of memfd_create(2) for huge pages.

    They are 0 for ordinary pages. Told by the device, which is that of a memfd of ours: a deleted file may
    have such a name too.
    """
    if not may_be_memfd(name) or not stat.S_ISREG(st.st_mode):
        return None
    if st.st_dev == _device(0):
        return 0
    for size in os.listdir(_HUGE) if os.path.isdir(_HUGE) else ():
        kib = int(size.removeprefix("hugepages-").removesuffix("kB"))
        flags = MFD_HUGETLB | (kib * 1024).bit_length() - 1 << _HUGE_SHIFT
        if st.st_dev == _device(flags):
            return flags
    return None


def _device(flags: int) -> int:
    fd = os.memfd_create("criu", MFD_CLOEXEC | flags)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def check(d: Descriptor, scope: Scope) -> None:
    """Any can be dumped."""


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry."""
    files.inodes().dump(entry, d)


class Inodes:
    """The objects of a dump, each once, whoever has it open or maps it."""

    __slots__ = ("_ids", "_scope", "_sealed", "contents", "entries", "message", "shmids")

    def __init__(self, message: Any, scope: Scope) -> None:
        self.message = message  # the schema's accessor
        self._scope = scope
        self.entries: list[Any] = []
        self.contents = shmem.Contents(message)
        self._ids: dict[tuple[int, int], int] = {}
        self.shmids: set[int] = set()
        self._sealed: list[tuple[Any, Any]] = []

    def is_one(self, name: str, st: os.stat_result) -> bool:
        """Is this what a link of procfs leads to?"""
        return find(name, st) is not None

    def dump(self, entry: Any, d: Descriptor) -> None:
        """Fill a file_entry for a descriptor."""
        self._fill(entry, self._inode(d.path, d.link, d.stat), d.flags & ~O_CLOEXEC, d.pos)

    def dump_path(self, entry: Any, where: str, name: str, st: os.stat_result) -> None:
        """Fill a file_entry for all that map it or execute it; how it is open for a mapping is in the vma_entry."""
        self._fill(entry, self._inode(where, name, st), os.O_RDONLY, 0)

    def _fill(self, entry: Any, inode: int, flags: int, pos: int) -> None:
        entry.type = TYPE
        memfd = entry.memfd
        memfd.id, memfd.flags, memfd.pos, memfd.inode_id = entry.id, flags, pos, inode
        memfd.fown.SetInParent()

    def _inode(self, where: str, name: str, st: os.stat_result) -> int:
        key = (st.st_dev, st.st_ino)
        known = self._ids.get(key)
        if known:
            return known
        known = self._ids[key] = len(self._ids) + 1
        shmid = st.st_ino & 0xFFFFFFFF
        while shmid in self.shmids:  # inodes of different devices may have the same number
            shmid = shmid + 1 & 0xFFFFFFFF
        self.shmids.add(shmid)
        huge = find(name, st) or 0
        uid, gid = self._scope.uid(st.st_uid), self._scope.gid(st.st_gid)
        entry = self.message("memfd_inode_entry")(uid=uid, gid=gid, size=st.st_size, shmid=shmid)
        name = name.removesuffix(DELETED)
        set_text(entry, "name", name.removeprefix(PREFIX))
        if name in (PREFIX + ANONYMOUS, PREFIX + ANONYMOUS_HUGE):
            entry.named = True
        entry.seals, entry.inode_id, entry.mode = _seals(where), known, st.st_mode
        if huge:
            entry.hugetlb_flag = huge
        self.entries.append(entry)
        self.contents.add(shmid, where, st.st_size, _huge_page(huge))
        return known

    def map(self, vma: Any, v: proc.Vma, entry: Any) -> None:
        """Finish the vma_entry of a mapping of a file_entry of ours."""
        inode = self.entries[entry.memfd.inode_id - 1]
        vma.status |= MEMFD
        if inode.hugetlb_flag:
            vma.flags |= mm.MAP_HUGETLB | inode.hugetlb_flag & ~MFD_HUGETLB
        if v.shared and inode.seals & F_SEAL_FUTURE_WRITE and not inode.seals & F_SEAL_WRITE:
            if "mw" in v.flags:
                inode.writable = True
            else:
                self._sealed.append((inode, vma))

    def settle(self) -> None:
        """All mappings are known.

        Sealed against writing from now on (F_SEAL_FUTURE_WRITE), an object keeps the writable mappings that it has.
        Restored, they are made before it is sealed; those that came after the seal still cannot be made writable.
        """
        for inode, vma in self._sealed:
            if inode.writable:
                vma.fdflags = os.O_RDONLY

    def write(self, images: Images) -> None:
        """Write what describes them; the pages were copied by `contents`."""
        images.write("MEMFD_INODE", (), self.entries)
        self.contents.write(images)


def _seals(where: str) -> int:
    import fcntl

    fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    finally:
        os.close(fd)


def _huge_page(flags: int) -> int:
    """The size of huge pages in bytes by flags of memfd_create(2); 0 for ordinary ones."""
    return 1 << (flags >> _HUGE_SHIFT & _HUGE_MASK) if flags & MFD_HUGETLB else 0


class Memfds:
    """The objects of images, each made when it is first used or mapped. BadImage for what contradicts itself."""

    __slots__ = ("_anonymous", "_files", "_first", "_images", "_inodes", "_late", "_made", "_noreserve", "_unsealed")

    def __init__(self, images: Images, files: dict[int, Any], tasks: list[TaskImages]) -> None:
        self._images = images
        self._inodes: dict[int, Any] = {}
        self._files = files
        self._first: dict[int, int] = {}  # by inode: the struct file that memfd_create(2) made
        self._made: dict[int, int] = {}
        self._anonymous: dict[int, int] = {}
        self._noreserve: set[int] = set()
        self._unsealed: list[tuple[int, Any]] = []
        if images.exists("MEMFD_INODE"):
            self._inodes = {entry.inode_id: entry for entry in images.read("MEMFD_INODE")}
        self._late: set[int] = {inode.inode_id for inode in self._inodes.values() if inode.writable}
        _convert(images, files, self._inodes, tasks)
        for ident, entry in files.items():
            if entry.type == TYPE:
                if not entry.HasField("memfd"):
                    raise BadImage("files.img", 0, f"file {ident:#x} is a memfd without a memfd_file_entry")
                inode = entry.memfd.inode_id
                if inode not in self._inodes:
                    raise BadImage(_IMAGE, 0, f"inode {inode} is missing, files.img has it as file {ident:#x}")
                if entry.memfd.flags & os.O_ACCMODE == os.O_RDWR and not entry.memfd.flags & os.O_PATH:
                    self._first.setdefault(inode, ident)
        for entry in self._inodes.values():
            shmem.check(images, entry.shmid, entry.size)
        for task in tasks:
            for v in task.mm.vmas:
                if not v.status & MEMFD or v.shmid not in files:
                    continue
                inode = files[v.shmid].memfd.inode_id
                if v.flags & mm.MAP_NORESERVE:
                    self._noreserve.add(inode)
                if v.flags & mm.MAP_SHARED and v.prot & mm.PROT_WRITE:
                    self._late.add(inode)

    def name(self, entry: Any) -> str:
        """What a file_entry is, for descriptions."""
        inode = self._inodes[entry.memfd.inode_id]
        return "shared anonymous memory" if _is_anonymous(inode) else f"memfd {text(inode.name)}"

    def open(self, entry: Any, flags: int | None, links: Links) -> int:
        """A descriptor of a file_entry's struct file, or with `flags` of the one that mappings are made of."""
        memfd = entry.memfd
        made = self._inode(memfd.inode_id)
        what = f"file {entry.id:#x} of files.img"
        try:
            # Only the struct file that memfd_create(2) made may be open for writing while the object is executed.
            if (flags is not None and flags & os.O_ACCMODE == os.O_RDWR) or (
                flags is None and self._first.get(memfd.inode_id) == entry.id
            ):
                fd = os.dup(made)
            else:
                wanted = memfd.flags if flags is None else flags
                fd = links.open(made, wanted & ~_ONCE)
        except OSError as e:
            raise KernelError(f"open({self.name(entry)})", e.errno or 0, what) from e
        if flags is None:
            try:
                _settle(fd, memfd)
            except OSError as e:
                os.close(fd)
                raise KernelError(f"flags {memfd.flags:#o} or offset {memfd.pos}", e.errno or 0, what) from e
        return fd

    def adopt(self, given: Given) -> None:
        """Those that the user gives: they are as they are."""
        for ident, entry in self._inodes.items():
            if not _is_anonymous(entry) and (fd := given.fd(f"memfd:{text(entry.name)}", stat.S_IFREG)) >= 0:
                self._made[ident] = os.dup(fd)

    def _inode(self, ident: int) -> int:
        """The object's first struct file: made, filled, and sealed unless that has to wait."""
        if ident not in self._made:
            entry = self._inodes[ident]
            try:
                fd = self._made[ident] = self._make(entry, ident in self._noreserve)
                shmem.load(self._images, entry.shmid, fd, entry.size, _huge_page(entry.hugetlb_flag))
                os.fchown(fd, entry.uid, entry.gid)
                if entry.HasField("mode"):
                    os.fchmod(fd, stat.S_IMODE(entry.mode))
                if entry.seals & F_SEAL_FUTURE_WRITE and ident in self._late:
                    self._unsealed.append((fd, entry))
                else:
                    _seal(fd, entry)
            except OSError as e:
                what = f"inode {ident} ({text(entry.name)}) of {_IMAGE}"
                raise KernelError("memfd_create, ftruncate, fchown, fchmod or F_ADD_SEALS", e.errno or 0, what) from e
        return self._made[ident]

    def make_anonymous(self, ids: Ids) -> None:
        """Make those now that take capabilities which nobody has in a user namespace: shared anonymous memory."""
        for ident, entry in self._inodes.items():
            if _is_anonymous(entry):
                fd = self._anonymous[ident] = self._make(entry, ident in self._noreserve)
                os.fchown(fd, ids.uid_outside(entry.uid), ids.gid_outside(entry.gid))

    def _make(self, entry: Any, noreserve: bool) -> int:
        if _is_anonymous(entry):
            if entry.inode_id in self._anonymous:
                return self._anonymous.pop(entry.inode_id)
            huge = mm.MAP_HUGETLB | entry.hugetlb_flag & ~MFD_HUGETLB if entry.hugetlb_flag else 0
            return objects.make(entry.size, _huge_page(entry.hugetlb_flag), huge | mm.MAP_NORESERVE * noreserve)
        flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | entry.hugetlb_flag
        # one or the other, or else the system says which (sysctl vm.memfd_noexec)
        noexec = entry.HasField("mode") and entry.seals & F_SEAL_EXEC and not entry.mode & 0o111
        fd = os.memfd_create(text(entry.name), flags | (MFD_NOEXEC_SEAL if noexec else MFD_EXEC))
        os.truncate(fd, entry.size)
        return fd

    def seal(self) -> None:
        """Once all mappings are there: seal what only has those that were writable before."""
        for fd, entry in self._unsealed:
            try:
                _seal(fd, entry)
            except OSError as e:
                what = f"inode {entry.inode_id} of {_IMAGE}"
                raise KernelError(f"fcntl(F_ADD_SEALS, {entry.seals:#x})", e.errno or 0, what) from e
        self._unsealed.clear()

    def close(self) -> None:
        """Let go of them; whoever has taken one keeps it."""
        for fd in (*self._made.values(), *self._anonymous.values()):
            os.close(fd)
        self._made.clear()
        self._anonymous.clear()


def _is_anonymous(inode: Any) -> bool:
    return text(inode.name) == (ANONYMOUS_HUGE if inode.hugetlb_flag else ANONYMOUS) and not inode.named


def _convert(images: Images, files: dict[int, Any], inodes: dict[int, Any], tasks: list[TaskImages]) -> None:
    """Shared anonymous memory as CRIU before 4.0 describes it: by mappings alone, so that it ends where they do."""
    new = images.schema.message
    mapped: dict[int, list[Any]] = {}
    for task in tasks:
        for v in task.mm.vmas:
            if v.status & ANON_SHARED and not v.status & SYSVIPC:
                mapped.setdefault(v.shmid, []).append(v)
    for shmid, vmas in mapped.items():
        ident, inode_id = max(files, default=0) + 1, max(inodes, default=0) + 1
        inode = inodes[inode_id] = new("memfd_inode_entry")(name=ANONYMOUS, uid=0, gid=0, shmid=shmid)
        inode.size = max(v.pgoff + v.end - v.start for v in vmas)
        inode.seals, inode.inode_id, inode.mode = F_SEAL_SEAL, inode_id, stat.S_IFREG | 0o777
        entry = files[ident] = new("file_entry")(type=TYPE, id=ident)
        entry.memfd.id, entry.memfd.inode_id, entry.memfd.flags, entry.memfd.pos = ident, inode_id, os.O_RDONLY, 0
        for v in vmas:
            v.status = v.status & ~ANON_SHARED | FILE_SHARED | MEMFD
            v.flags &= ~mm.MAP_ANONYMOUS
            v.shmid, v.fdflags = ident, os.O_RDWR


def _seal(fd: int, entry: Any) -> None:
    import fcntl

    if missing := entry.seals & ~fcntl.fcntl(fd, fcntl.F_GET_SEALS):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, missing)


def _settle(fd: int, memfd: Any) -> None:
    import fcntl

    if memfd.flags & os.O_PATH:
        return
    if memfd.flags & _SETTABLE != fcntl.fcntl(fd, fcntl.F_GETFL) & _SETTABLE:
        fcntl.fcntl(fd, fcntl.F_SETFL, memfd.flags & _SETTABLE)
    os.lseek(fd, memfd.pos, os.SEEK_SET)
