"""Mappings: from /proc/PID/smaps to vma_entry, and from vma_entry to mmap(2), mprotect(2) and madvise(2)."""

from __future__ import annotations

from engine.files.fd import may_be_memfd
from engine.files.table import FileTable, mapped_flags
from engine.kernel import proc
from engine.kernel.uapi import mman as mm
from engine.memory import uprobes
from engine.plan import abi
from engine.plan.program import Program, Ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

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
MEMFD = 1 << 14

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
    *["rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "ac", "ar", "nr", "lo", "sd", "dp"],
    *_ADVICE,
    "de",
    "io",
    "pf",
}
_REFUSED = {
    "ht": "huge pages (MAP_HUGETLB)",
    "um": "registered with userfaultfd",
    "uw": "write-protected through userfaultfd",
    "ui": "registered with userfaultfd",
    "sf": "mapped synchronously (DAX)",
    "sl": "sealed (mseal)",
    "gu": "guard regions",
    "ss": "a shadow stack",
}
_SPECIAL = {"[vdso]": VDSO, "[vvar]": VVAR, "[vvar_vclock]": VVAR, "[vsyscall]": VSYSCALL}


def blockers(vmas: list[proc.Vma], allow_uprobes: bool = False) -> list[str]:
    """What cannot be dumped, one line each: the mapping and what it is."""
    out = []
    for v in vmas:
        if v.known is None:
            v.known = [] if allow_uprobes and v.path == uprobes.AREA else _blockers(v)
        out += v.known
    return out


def _blockers(v: proc.Vma) -> list[str]:
    out = []
    if v.path not in _SPECIAL:
        what = _unsupported(v)
        if what:
            out.append(f"mapping {v}: {what}")
        refused = [f for f in v.flags if f in _REFUSED and not (f == "ht" and _is_object(v))]
        out += [f"mapping {v}: {_REFUSED[f]}: not supported yet" for f in refused]
        unknown = [f for f in v.flags if f not in _KNOWN and f not in _REFUSED]
        if unknown:
            out.append(f"mapping {v}: unknown VmFlags {' '.join(unknown)}")
    return out


# How /proc/PID/maps names mappings that are neither anonymous nor of a file with a path.
_NAMED = (
    ("/[aio]", "an AIO ring"),
    ("anon_inode:", "memory of an anonymous inode"),
    ("socket:", "a packet socket's ring"),
)


def _is_object(v: proc.Vma) -> bool:
    """Is it of an object of shared memory (engine/files/memfd.py)? Private huge pages are of one of their own."""
    return may_be_memfd(v.path) and (v.shared or not v.path.startswith("/anon_hugepage"))


def _unsupported(v: proc.Vma) -> str:
    if v.path.startswith("[uprobes"):
        return uprobes.refusal(v)
    if v.path.startswith("/SYSV"):
        return "System V shared memory: only together with its IPC namespace, which is not supported yet"
    if _is_object(v):
        return ""
    for name, what in _NAMED:
        if v.path.startswith(name):
            return f"{what} is not supported yet"
    if v.path.startswith("/dev/") and v.ino and v.path not in ("/dev/zero", "/dev/null"):
        return "memory of a device cannot be dumped"
    return ""


def dump(entry: Any, vmas: list[proc.Vma], brk: tuple[int, int], pid: int, files: FileTable) -> None:
    """Fill mm_entry.vmas; mapped files go into `files`. `brk` is (start_brk, brk)."""
    last: Any = None
    for v, kind in zip(vmas, _kinds(vmas, pid), strict=True):
        if kind is None:
            continue
        if kind == VVAR and last is not None and last.status & VVAR and last.end == v.start:
            last.end = v.end  # one group, whatever its parts are called
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
        if v.ino:
            last.pgoff = v.pgoff
            last.fdflags = mapped_flags(pid, v)
            last.shmid = files.mapped(pid, v)
            last.flags = mm.MAP_SHARED if v.shared else mm.MAP_PRIVATE
            last.status = REGULAR | (FILE_SHARED if v.shared else FILE_PRIVATE)
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
        if v.path == uprobes.AREA or (proxied and kind in (VDSO, VVAR)):
            kind = None
        elif proxied and v.start in proxied and not v.ino and not v.shared:
            kind = VDSO if v.start == proxied[0] else VVAR
        out.append(kind)
    return out


def has_pages(vma: Any) -> bool:
    """Can the mapping hold pages of the task's own, which are in the pages image?"""
    return bool(vma.status & (ANON_PRIVATE | FILE_PRIVATE)) and not vma.status & (VVAR | VSYSCALL)


def is_inherited(vma: Any) -> bool:
    """Does a child have all its pages by fork(2), whatever the parent does then?

    Not MADV_DONTFORK and MADV_WIPEONFORK; and a huge page (MAP_HUGETLB) goes to the parent where there is only one.
    """
    kept = 1 << mm.MADV_DONTFORK | 1 << mm.MADV_WIPEONFORK
    return not vma.madv & kept and not vma.flags & (mm.MAP_HUGETLB | mm.MAP_DROPPABLE)


def can_be_lazy(vma: Any) -> bool:
    """May a restore bring the mapping's pages later, when they are touched? Only marked: lazy restore is to come."""
    special = VDSO | VVAR | VSYSCALL
    return bool(vma.status & ANON_PRIVATE) and not vma.status & special and not vma.flags & mm.MAP_LOCKED


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
    return prot


def plan_protect(program: Program, vma: Any, prot: int) -> None:
    """After the pages: the final protection where it is another one now, and locking."""
    size = vma.end - vma.start
    if prot != vma.prot:
        program.sys("mprotect", vma.start, size, vma.prot, note=lambda: text(vma))
    if vma.flags & mm.MAP_LOCKED:
        program.sys("mlock2", vma.start, size, 0)


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
