"""The vdso at restore: mapped by the kernel where the task had it, or, where this kernel's is another one, proxied.

A proxied task keeps the vdso that it was dumped with as ordinary memory, and its vvar range as zeroes. The kernel's own
vdso goes to a free address, and every function of the old one begins with a jump to the same function there, or with
the system call where the kernel's has no such function. The kernel's vdso begins with a mark, the same that CRIU
writes, by which the next dump (of either) finds out what is what: see find_proxied().
"""

from __future__ import annotations

import os
import struct

from engine.errors import BadImage, EngineError
from engine.images.files import Images
from engine.kernel import memory, pagemap, proc, process
from engine.kernel.uapi import mman as mm
from engine.kernel.uapi.signal import SIGKILL
from engine.memory.vmas import ANON_PRIVATE, REGULAR, VDSO, VVAR, plan_vdso
from engine.plan import abi
from engine.plan.program import Program, free_hole
from engine.tasks import compat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from engine.kernel.ptrace import Tracee
    from engine.tasks.images import TaskImages

PAGE = memory.PAGE
_FAULT_TRAMPOLINES = "127"  # value of $CRIU_FAULT that asks for a proxy although the vdso is the same
_SIGNATURE = b"CRIUvDSO"
_VERSION = 3
_MARK = struct.Struct("<8s4Q")  # signature, the old vdso, version, the old vvar, the kernel's vvar
_SIGTRAP_BIT = 1 << 4
_SCRATCH = 0x1000_0000  # where a process of ours has nothing
# After which a thread is left inside of the vdso. On a busy machine a step may take as long as the clock's tick, with
# which what reads the clock begins anew.
_STEPS_US = 1_000_000

# x86-64. rax is nobody's at a function's entry, and what returns the result.
_JUMP = struct.Struct("<2sQ2s")  # movabs $address, %rax; jmp *%rax
_JUMP_ENDS = (b"\x48\xb8", b"\xff\xe0")
_JUMP_ROOM = 16  # bytes that a proxy changes at an entry, CRIU's padding included
_SYSCALL = b"\x0f\x05"
_CALL = struct.Struct("<BI3s")  # mov $number, %eax; syscall; ret
_NUMBERS = {"clock_gettime": 228, "gettimeofday": 96, "time": 201, "getcpu": 309, "clock_getres": 229}
# getrandom(2), but -ENOSYS to who asks for the size of a state: cmp $-1, %r8; je; as above; mov $-ENOSYS, %rax; ret
_GETRANDOM = bytes.fromhex("4983f8ff7408 b83e010000 0f05 c3 48c7c0daffffff c3")


class Proxy:
    """What is written once everything is mapped: [(address, bytes)] into [(start, end, protection)]."""

    __slots__ = ("areas", "patches")

    def __init__(self) -> None:
        self.areas: list[tuple[int, int, int]] = []
        self.patches: list[tuple[int, bytes]] = []


def prepare(task: TaskImages, images: Images, cores: dict[int, Any], kernels: Kernels) -> Proxy | None:
    """Decide how the task's vdso comes back: None when the kernel maps it where it was, or the task had none.

    With a proxy, the entries of task.mm change: the old vdso and vvar become ordinary mappings, and one entry more says
    where the kernel's go. `cores` are those of all threads, by tid; one that stopped
    inside of a jump is moved back to the function's entry. Raises EngineError when a thread was inside of code that
    cannot go on here.
    """
    code = [v for v in task.mm.vmas if v.status & VDSO]
    vvar = [v for v in task.mm.vmas if v.status & VVAR]
    if not code:
        for v in vvar:
            v.status &= ~VVAR  # of no use to anybody, but it was there
        return None
    start, size = code[0].start, sum(v.end - v.start for v in code)
    own_vvar, own = kernels.of(task.core)
    dumped = _pages(task, images, start, size)
    placed = len(code) == len(vvar) == 1 and code[0].prot == mm.PROT_READ | mm.PROT_EXEC and vvar[0].end == start
    alike = placed and (vvar[0].end - vvar[0].start, size) == (own_vvar, len(own))
    forced = os.environ.get("CRIU_FAULT") == _FAULT_TRAMPOLINES
    if dumped is None:
        if alike and not forced:
            return None
        raise EngineError(f"pid {task.pid}: its vdso is not this kernel's, and not in the images; dump again")
    if alike and dumped == own and not forced:
        return None
    if compat.is_compat(task.core):
        raise EngineError(
            f"pid {task.pid}: its vdso is not this kernel's for 32-bit programs;"
            " restore it on the kernel that it was dumped on"
        )
    from engine.memory.elf import functions  # two in a hundred restores need it

    try:
        theirs = functions(dumped)
    except ValueError as e:
        raise BadImage(images.name("PAGES", task.pages_id), 0, f"the vdso of pid {task.pid}: {e}; dump again") from e
    ours = functions(own) if own else {}
    entries = sorted(set(theirs.values()))
    if alike and theirs == ours and not forced:
        _settle_in_place(start, dumped, own, entries, cores)
        return None
    proxy = Proxy()
    at = free_hole([(v.start, v.end) for v in task.mm.vmas], own_vvar + len(own)) if own else 0
    proxy.patches = _patches(task.pid, theirs, ours, start, size, at + own_vvar)
    _settle_proxied(start, dumped, entries, proxy, cores)
    for v in (*code, *vvar):
        v.status &= ~(VDSO | VVAR)
    proxy.areas += [(v.start, v.end, v.prot) for v in code]
    if own:
        mark = _MARK.pack(_SIGNATURE, start, _VERSION, vvar[0].start if vvar else 0, at)
        proxy.patches.append((at + own_vvar, mark))
        proxy.areas.append((at + own_vvar, at + own_vvar + len(own), mm.PROT_READ | mm.PROT_EXEC))
        status = REGULAR | ANON_PRIVATE | VDSO | VVAR
        end = at + own_vvar + len(own)
        task.mm.vmas.add(start=at, end=end, pgoff=0, shmid=0, prot=0, flags=0, status=status, fd=-1)
    return proxy


def plan(arch: ModuleType, program: Program, task: TaskImages) -> None:
    """Have this kernel's vdso and vvar mapped; for a proxied task, write jumps and mark. The last of its mappings."""
    proxy = task.vdso
    plan_vdso(arch, program, task.mm.vmas, compat.is_compat(task.core))
    if proxy is None:
        return
    for start, end, _ in proxy.areas:
        program.sys("mprotect", start, end - start, mm.PROT_READ | mm.PROT_WRITE, note="the vdso, for its proxy")
    local = b"".join(data for _, data in proxy.patches)
    remote = b"".join(struct.pack("<QQ", at, len(data)) for at, data in proxy.patches)
    arena = program.arena
    pid = program.sys("getpid")
    program.sys(
        "process_vm_writev",
        pid,
        arena.put(struct.pack("<QQ", arena.put(local), len(local))),
        1,
        arena.put(remote),
        len(proxy.patches),
        0,
        expect=abi.EXPECT_EQUAL,
        want=len(local),
        note="jumps from the old vdso to the kernel's",
    )
    for start, end, prot in proxy.areas:
        program.sys("mprotect", start, end - start, prot)


def find_proxied(pid: int, vmas: list[proc.Vma]) -> tuple[int, int] | None:
    """(vdso, vvar) that a proxied task was born with: addresses of ordinary mappings. None for any other task.

    What the kernel calls [vdso] and [vvar] in a proxied task is the proxy's. Raises EngineError for an unknown mark.
    """
    for v in vmas:
        if v.path != "[vdso]" or not v.prot & mm.PROT_READ:
            continue
        signature, vdso, version, vvar, _ = _MARK.unpack(memory.read(pid, v.start, _MARK.size))
        if signature == _SIGNATURE:
            if version != _VERSION:
                raise EngineError(f"pid {pid}: its vdso was proxied by another CRIU (mark version {version})")
            return vdso, vvar
    return None


def areas(vmas: list[proc.Vma]) -> list[tuple[int, int]]:
    """(start, end) of the kernel's vdso among a task's mappings: what leave() asks for."""
    return [(v.start, v.end) for v in vmas if v.path == "[vdso]"]


def leave(arch: ModuleType, tracee: Tracee, vdso: list[tuple[int, int]]) -> bool:
    """Step a stopped thread out of the vdso, before its registers are taken; False if it is still inside.

    Where it is restored the same instruction may be another one. A thread for which SIGTRAP is blocked or ignored is
    not stepped: the trap would reset its disposition.
    """

    ip = arch.get(tracee.general(), "ip")
    area = next(((start, end) for start, end in vdso if start <= ip < end), None)
    if area is None:
        return True
    from engine.kernel.singlestep import step_out  # few threads need it

    status = proc.status(tracee.pid)
    if (int(status["SigBlk"], 16) | int(status["SigIgn"], 16)) & _SIGTRAP_BIT:
        return False
    mask = tracee.sigmask()
    tracee.set_sigmask(~_SIGTRAP_BIT & 0xFFFFFFFFFFFFFFFF)
    try:
        return step_out(tracee, _STEPS_US, arch.IP_AT, *area)
    finally:
        tracee.set_sigmask(mask)


class Kernels:
    """This kernel's: (the size of vvar in bytes, the vdso) by kind of program; b"" for none (booted with vdso=0)."""

    __slots__ = ("_compat", "_native")

    def __init__(self) -> None:
        self._native = _mapped(os.getpid())
        self._compat: tuple[int, bytes] | None = None

    def of(self, core: Any) -> tuple[int, bytes]:
        """For a task with this core_entry."""
        if not compat.is_compat(core):
            return self._native
        if self._compat is None:  # only a process that has it can show it
            pid = process.with_vdso32(_SCRATCH)
            try:
                self._compat = _mapped(pid)
            finally:
                os.kill(pid, SIGKILL)
                process.wait_exit(pid)
        return self._compat


def _mapped(pid: int) -> tuple[int, bytes]:
    vvar, code = 0, b""
    for line in proc.read_text(f"/proc/{pid}/maps").splitlines():
        name = line.rpartition(" ")[2]
        if name in ("[vvar]", "[vvar_vclock]", "[vdso]"):
            start, end = (int(word, 16) for word in line.partition(" ")[0].split("-"))
            if name == "[vdso]":
                code = memory.read(pid, start, end - start)
            else:
                vvar += end - start
    return vvar, code


def _pages(task: TaskImages, images: Images, start: int, size: int) -> bytes | None:
    """The dumped contents of a range, if the pages image has all of it."""
    offsets = [pagemap.find(task.pagemap.data, page) for page in range(start, start + size, PAGE)]
    if -1 in offsets:
        return None
    fd = images.open_raw("PAGES", task.pages_id)
    try:
        return b"".join(os.pread(fd, PAGE, offset) for offset in offsets)
    finally:
        os.close(fd)


def _patches(
    pid: int, theirs: dict[str, int], ours: dict[str, int], start: int, size: int, target: int
) -> list[tuple[int, bytes]]:
    """What replaces the entry of each function: the vdso at `start` calls the one at `target`."""
    out = []
    entries = sorted(set(theirs.values()))
    for entry, end in zip(entries, [*entries[1:], size], strict=True):
        names = sorted(name for name, at in theirs.items() if at == entry)
        patch = next((_JUMP.pack(_JUMP_ENDS[0], target + ours[n], _JUMP_ENDS[1]) for n in names if n in ours), b"")
        for name in (n.removeprefix("__vdso_") for n in names):
            if not patch and name in _NUMBERS:
                patch = _CALL.pack(0xB8, _NUMBERS[name], _SYSCALL + b"\xc3")
            if not patch and name == "getrandom":
                patch = _GETRANDOM
        if len(patch) > end - entry:
            raise EngineError(
                f"pid {pid}: its vdso is not this kernel's, and {names[0]} ({end - entry} bytes) is too short;"
                " restore it on the kernel that it was dumped on"
            )
        if patch:
            out.append((start + entry, patch))
    return out


def _is_jump(code: bytes, entry: int) -> bool:
    first, _, last = _JUMP.unpack(code[entry : entry + _JUMP.size].ljust(_JUMP.size))
    return (first, last) == _JUMP_ENDS


def _rewound(code: bytes, entries: list[int], at: int) -> int | None:
    """The entry of the function in whose jump `at` lies: the jump may be taken again, to wherever it leads then."""
    return next((e for e in entries if e <= at < e + _JUMP.size and _is_jump(code, e)), None)


def _settle_in_place(start: int, dumped: bytes, own: bytes, entries: list[int], cores: dict[int, Any]) -> None:
    """The same functions at the same places: the code differs where it was proxied, or where processors differ."""
    plain = bytearray(dumped)
    for e in entries:
        if _is_jump(dumped, e):
            plain[e : e + _JUMP_ROOM] = own[e : e + _JUMP_ROOM]
    for tid, core in cores.items():
        registers = core.thread_info.gpregs
        at = registers.ip - start
        if not 0 <= at < len(dumped):
            continue
        entry = _rewound(dumped, entries, at)
        if entry is not None:
            registers.ip = start + entry
        elif plain != own:
            raise _stuck(tid, registers.ip)


def _settle_proxied(start: int, dumped: bytes, entries: list[int], proxy: Proxy, cores: dict[int, Any]) -> None:
    """A thread can go on in the old vdso where it comes from or goes to the kernel, without vvar; or at an entry."""
    for tid, core in cores.items():
        registers = core.thread_info.gpregs
        at = registers.ip - start
        if not 0 <= at < len(dumped) or at in entries:
            continue
        entry = _rewound(dumped, entries, at)
        if entry is not None:
            registers.ip = start + entry
            continue
        cut = any(begin < registers.ip < begin + len(patch) for begin, patch in proxy.patches)
        if cut or _SYSCALL not in (dumped[at : at + 2], dumped[max(at - 2, 0) : at]):
            raise _stuck(tid, registers.ip)


def _stuck(tid: int, ip: int) -> EngineError:
    return EngineError(
        f"thread {tid} was dumped inside of its vdso (at {ip:#x}), which is not this kernel's;"
        " restore it on the kernel that it was dumped on, or dump it again"
    )
