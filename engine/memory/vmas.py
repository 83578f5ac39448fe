"""Mappings: from /proc/PID/smaps to vma_entry, and from vma_entry to mmap(2), mprotect(2) and madvise(2)."""

from __future__ import annotations

import os

from engine.files import kinds
from engine.files.fd import may_be_memfd
from engine.images.schema import set_text
from engine.images.schema import text as text_of
from engine.kernel import memory, proc
from engine.kernel.uapi import mman as mm
from engine.kernel.uapi import prctl as pr
from engine.plan import abi
from engine.plan.program import Program, Ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from engine.files.table import FileTable

# vma_entry.status
REGULAR = 1 << 0
VSYSCALL = 1 << 2
VDSO = 1 << 3
HEAP = 1 << 5
FILE_PRIVATE = 1 << 6
FILE_SHARED = 1 << 7
ANON_SHARED = 1 << 8
ANON_PRIVATE = 1 << 9
SYSVIPC = 1 << 10
VVAR = 1 << 12
AIORING = 1 << 13
MEMFD = 1 << 14
SECRETMEM, RING = 1 << 24, 1 << 25  # ours

# VmFlags (proc_pid_smaps(5)) that a madvise(2) brings back; CRIU keeps them as bits 1 << advice of vma_entry.madv.
_ADVICE = {
    "sr": mm.MADV_SEQUENTIAL,
    "rr": mm.MADV_RANDOM,
    "dc": mm.MADV_DONTFORK,
    "dd": mm.MADV_DONTDUMP,
    "mg": mm.MADV_MERGEABLE,
    "hg": mm.MADV_HUGEPAGE,
    "nh": mm.MADV_NOHUGEPAGE,
    "wf": mm.MADV_WIPEONFORK,
}
# Flags that say what the mapping is, or that come by themselves.
_KNOWN = {
    *["rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "ac", "ar", "nr", "lo", "lf", "sd", "dp", "ht", "sl", "gu"],
    *_ADVICE,
    "de",
    "io",
    "pf",
}
_REFUSED = {
    "sf": "mapped synchronously (DAX)",
    "ss": "a shadow stack",
}
_UFFD = {"um": 1, "uw": 2, "ui": 4}  # UFFDIO_REGISTER_MODE_*
_UFFD_MISSING = 1
_MAX_MAP_COUNT = "/proc/sys/vm/max_map_count"
_MANY = 1000  # mappings below which no machine's limit is near
_OWN = 4  # mappings: the arena, cut in three by what is asked of it, and its code apart
_NAME = "[anon:"  # of PR_SET_VMA_ANON_NAME
AIO = "/[aio] (deleted)"
UPROBES = "[uprobes]"
SYSV = "/SYSV"  # and the key of the segment
_NO_IPC = "System V shared memory of the engine's own IPC namespace: start the tree in one of its own (unshare --ipc)"
_HUGE = "/anon_hugepage (deleted)"
_SPECIAL = {"[vdso]": VDSO, "[vvar]": VVAR, "[vvar_vclock]": VVAR, "[vsyscall]": VSYSCALL}


def has_uprobes(vmas: list[proc.Vma]) -> bool:
    """Has the task met uprobes? Then inventory_entry.allow_uprobes is set."""
    return any(v.path == UPROBES for v in vmas)


def blockers(vmas: list[proc.Vma], allow_uprobes: bool = False, own_ipc: bool = False) -> list[str]:
    """What cannot be dumped, one line each: the mapping and what it is. `own_ipc`: of a task in an IPC namespace."""
    out = []
    for v in vmas:
        if v.path.startswith(SYSV) and not own_ipc:
            out.append(f"mapping {v}: {_NO_IPC}")
        if v.known is None:
            v.known = [] if allow_uprobes and v.path == UPROBES else _blockers(v)
        out += v.known
    return out


def check_count(count: int) -> str:
    """Why a task may have that many mappings, but no room for the engine's own (vm.max_map_count); "" if it has."""
    if count < _MANY:
        return ""
    most = int(proc.read_text(_MAX_MAP_COUNT))
    if count + _OWN <= most:
        return ""
    return f"it has {count} mappings, and the engine takes {_OWN} for a moment: echo {count + _OWN} > {_MAX_MAP_COUNT}"


def _blockers(v: proc.Vma) -> list[str]:
    out = []
    if v.path not in _SPECIAL:
        what = _unsupported(v)
        if what:
            out.append(f"mapping {v}: {what}")
        out += [f"mapping {v}: {_REFUSED[f]}: not supported yet" for f in v.flags if f in _REFUSED]
        unknown = [f for f in v.flags if f not in _KNOWN and f not in _REFUSED]
        if v.path == kinds.RING:
            unknown = [f for f in unknown if f != "mm"]
        if unknown and any(f in _UFFD for f in unknown):
            v.uffd = sum(_UFFD.get(f, 0) for f in unknown)
            unknown = [f for f in unknown if f not in _UFFD]
            if v.shared or v.ino or v.uffd & _UFFD["ui"]:
                out.append(f"mapping {v}: registered with userfaultfd, and not private anonymous: not supported yet")
            elif v.uffd & _UFFD_MISSING and "lo" in v.flags and "lf" not in v.flags:
                out.append(f"mapping {v}: registered with userfaultfd, and locked (mlock(2)): unlock it")
        if unknown and unknown[0].startswith("pkey="):
            # the kernel's own key for what may only be executed comes by itself
            if v.prot != mm.PROT_EXEC:
                key = unknown[0].removeprefix("pkey=")
                out.append(f"mapping {v}: has protection key {key} (pkeys(7)): not supported yet")
        elif unknown:
            out.append(f"mapping {v}: unknown VmFlags {' '.join(unknown)}")
    return out


# How /proc/PID/maps names mappings that are neither anonymous nor of a file with a path.
_NAMED = (
    ("anon_inode:", "memory of an anonymous inode"),
    ("socket:", "a socket's memory (a packet ring, or TCP zero-copy)"),
)


def _is_object(v: proc.Vma) -> bool:
    """Is it of an object of shared memory (engine/files/memfd.py)? Private huge pages are of one of their own."""
    return may_be_memfd(v.path) and (v.shared or not v.path.startswith("/anon_hugepage"))


def _unsupported(v: proc.Vma) -> str:
    if v.path.startswith("[uprobes"):
        from engine.memory import uprobes  # few tasks have met any

        return uprobes.refusal(v)
    if v.path == kinds.RING:
        refusal: str = kinds.module("io_uring").refusal(v)
        return refusal
    if v.path.startswith(SYSV) or _is_object(v):
        return ""
    for name, what in _NAMED:
        if v.path.startswith(name):
            return f"{what} is not supported yet"
    return ""


def dump(entry: Any, vmas: list[proc.Vma], brk: tuple[int, int], pid: int, files: FileTable) -> None:
    """Fill mm_entry.vmas; mapped files go into `files`. `brk` is (start_brk, brk)."""
    from engine.files.table import mapped_flags  # a restore needs none of it

    last: Any = None
    for v, kind in zip(vmas, _kinds(vmas, pid), strict=True):
        if kind is None:
            continue
        if kind == VVAR and last is not None and last.status & VVAR and last.end == v.start:
            last.end = v.end  # one group, whatever its parts are called
            continue
        if v.path == AIO:
            from engine.memory import aio  # few tasks have any

            aio.dump(entry, v, pid)
            continue
        last = entry.vmas.add(start=v.start, end=v.end, pgoff=0, shmid=0, prot=v.prot, fd=-1)
        last.flags = mm.MAP_PRIVATE | mm.MAP_ANONYMOUS
        last.status = REGULAR | ANON_PRIVATE | kind
        if kind == VSYSCALL:
            last.status = VSYSCALL | ANON_PRIVATE
        elif kind == VVAR:
            last.madv = 1 << mm.MADV_DONTDUMP
        if kind:
            continue
        if v.path == _HUGE and not v.shared:
            from engine.memory import hugetlb

            last.flags |= hugetlb.flags_of(v)
            last.fdflags = os.O_RDWR
        elif v.path.startswith(SYSV):
            last.status |= SYSVIPC | ANON_SHARED
            last.status &= ~ANON_PRIVATE
            last.pgoff, last.shmid = v.pgoff, v.ino
            last.fdflags = os.O_RDWR if "mw" in v.flags else os.O_RDONLY
            last.flags = mm.MAP_SHARED | mm.MAP_ANONYMOUS | (mm.MAP_HUGETLB if "ht" in v.flags else 0)
        elif v.path == kinds.RING:
            last.pgoff, last.shmid = v.pgoff, kinds.module("io_uring").mapped(pid, v, files)
            last.flags, last.status, last.fdflags = mm.MAP_SHARED, REGULAR | RING, os.O_RDWR
        elif v.ino:
            last.pgoff = v.pgoff
            last.fdflags = mapped_flags(pid, v)
            last.shmid = files.mapped(pid, v)
            last.flags = mm.MAP_SHARED if v.shared else mm.MAP_PRIVATE
            last.status = REGULAR | (FILE_SHARED if v.shared else FILE_PRIVATE)
            if files.entries[last.shmid - 1].type == kinds.SECRETMEM:
                last.status |= SECRETMEM
            if (memfd := files.mapped_memfd(last.shmid)) is not None and files.memfds:
                files.memfds.map(last, v, memfd)
        elif brk[0] <= v.start and v.end <= (brk[1] + 4095 & ~4095) and brk[1] > brk[0]:
            last.status |= HEAP
        if "gd" in v.flags:
            last.flags |= mm.MAP_GROWSDOWN
        if "nr" in v.flags:
            last.flags |= mm.MAP_NORESERVE
        if "lo" in v.flags:
            last.flags |= mm.MAP_LOCKED
            if "lf" in v.flags:
                last.lock_onfault = True
        if v.uffd:
            last.uffd = v.uffd
            files.registered.append((pid, v))
        if "sl" in v.flags:
            last.sealed = True
        if v.path.startswith(_NAME):
            set_text(last, "name", v.path[len(_NAME) : -1])
        if "dp" in v.flags:
            last.flags = last.flags & ~mm.MAP_PRIVATE | mm.MAP_DROPPABLE
        advice = sum(1 << a for f, a in _ADVICE.items() if f in v.flags and not ("dp" in v.flags and f in ("wf", "dd")))
        if advice:
            last.madv = advice


def _kinds(vmas: list[proc.Vma], pid: int) -> list[int | None]:
    """What is special about each mapping (vma_entry.status, 0: nothing); None for what stays out of the images."""
    from engine.memory import vdso  # which needs this module itself

    proxied = vdso.find_proxied(pid, vmas)
    out: list[int | None] = []
    for v in vmas:
        kind: int | None = _SPECIAL.get(v.path, 0)
        if v.path == UPROBES or (proxied and kind in (VDSO, VVAR)):
            kind = None
        elif proxied and v.start in proxied and not v.ino and not v.shared:
            kind = VDSO if v.start == proxied[0] else VVAR
        out.append(kind)
    return out


def has_pages(vma: Any) -> bool:
    """Can the mapping hold pages of the task's own, which are in the pages image?"""
    return bool(vma.status & (ANON_PRIVATE | FILE_PRIVATE | AIORING)) and not vma.status & (VVAR | VSYSCALL)


def is_whole(vma: Any) -> bool:
    """Are all of its pages stored, whatever they hold?"""
    return bool(vma.status & (VDSO | AIORING))


def header(vma: Any) -> int:
    """Bytes at its start that are not loaded: an AIO ring's header is right when the kernel has made the ring."""
    return 32 if vma.status & AIORING else 0


def is_inherited(vma: Any) -> bool:
    """Does a child have all its pages by fork(2), whatever the parent does then?

    Not MADV_DONTFORK and MADV_WIPEONFORK; a huge page (MAP_HUGETLB) goes to the parent where there is only one, and an
    AIO ring is the parent's still. An io_uring's memory is mapped when all its descriptors are there.
    """
    kept = 1 << mm.MADV_DONTFORK | 1 << mm.MADV_WIPEONFORK
    its_own = vma.flags & (mm.MAP_HUGETLB | mm.MAP_DROPPABLE) or vma.status & (AIORING | RING)
    return not vma.madv & kept and not its_own


def can_be_lazy(vma: Any) -> bool:
    """May a restore bring the mapping's pages later, when they are touched? Only marked: lazy restore is to come."""
    special = VDSO | VVAR | VSYSCALL
    return bool(vma.status & ANON_PRIVATE) and not (
        vma.status & special or vma.flags & (mm.MAP_LOCKED | mm.MAP_HUGETLB)
    )


def page_flags(vma: Any) -> int:
    """What the page mover is to know of a mapping that has pages (flags of kernel/memory.py)."""
    if is_whole(vma):
        return memory.WHOLE
    flags: int = memory.LAZY if can_be_lazy(vma) else 0
    if vma.status & ANON_PRIVATE and not vma.flags & mm.MAP_HUGETLB and not vma.uffd & _UFFD_MISSING:
        flags |= memory.SPARSE  # zeroes are what it has by itself
    if vma.uffd & _UFFD_MISSING:
        flags |= memory.ZEROES
    return flags


def plan_map(program: Program, vma: Any, fd: Ref | int, filled: bool, extent: tuple[int, int] | None = None) -> int:
    """Map one vma_entry at its place, or on (start, end) around it; returns its protection for now.

    It is writable for now if pages will be read into it.
    """
    start, end = extent or (vma.start, vma.end)
    flags = vma.flags & ~mm.MAP_LOCKED | mm.MAP_FIXED_NOREPLACE
    if vma.status & (ANON_PRIVATE | ANON_SHARED):
        flags |= mm.MAP_ANONYMOUS
    size, offset = end - start, vma.pgoff - (vma.start - start if vma.pgoff else 0)
    prot: int = vma.prot | (mm.PROT_WRITE if filled else 0)
    equal = {"expect": abi.EXPECT_EQUAL, "want": start}
    # the kernel sets a file's uprobes in text that is mapped and not writable, and only then looks for them later
    probed = vma.prot & mm.PROT_EXEC and vma.status & FILE_PRIVATE
    program.sys("mmap", start, size, vma.prot if probed else prot, flags, fd, offset, note=lambda: text(vma), **equal)
    if probed and prot != vma.prot:
        program.sys("mprotect", start, size, prot)
    # before the pages come: a neighbour with other advice is another mapping, and must stay one
    for bit in range(64):
        if vma.madv >> bit & 1:
            program.sys("madvise", start, size, bit)
    if vma.HasField("name"):
        name = program.arena.text(text_of(vma.name))
        # a name changes nothing but what procfs tells: not every kernel keeps any
        program.ask("prctl", pr.PR_SET_VMA, pr.PR_SET_VMA_ANON_NAME, start, size, name)
    return prot


def plan_protect(program: Program, vma: Any, prot: int, guards: list[tuple[int, int]]) -> None:
    """After the pages: the final protection where it is another one now, guards, locking."""
    if prot != vma.prot:
        program.sys("mprotect", vma.start, vma.end - vma.start, vma.prot, note=lambda: text(vma))
    is_locked = vma.flags & mm.MAP_LOCKED and not vma.status & SECRETMEM  # that is by itself
    if not guards and not is_locked:
        return
    from engine.memory import guard

    guard.plan(program, guards)
    if is_locked:
        guard.plan_lock(program, vma, guards, mm.MLOCK_ONFAULT if vma.lock_onfault else 0)


def plan_vdso(arch: ModuleType, program: Program, vmas: Any, is_compat: bool = False) -> None:
    """Map this kernel's vdso and vvar where the task had them. The layout must have been found equal before."""
    group = [v for v in vmas if v.status & (VDSO | VVAR)]
    if group:
        lowest = min(v.start for v in group)
        code = arch.ARCH_MAP_VDSO_COMPAT if is_compat else arch.ARCH_MAP_VDSO
        program.sys("arch_prctl", code, lowest, note="vdso and vvar")


def text(vma: Any) -> str:
    """start-end perms kind."""
    perms = "".join(c if vma.prot & bit else "-" for c, bit in proc.PROT.items())
    kind = "file" if vma.status & (FILE_PRIVATE | FILE_SHARED) else "heap" if vma.status & HEAP else "anon"
    return f"{vma.start:x}-{vma.end:x} {perms}{'s' if vma.flags & mm.MAP_SHARED else 'p'} {kind}"
