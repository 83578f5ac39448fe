"""x86-64: registers between the kernel's sets and core-PID.img (thread_info_x86), system calls by register.

`regs` is struct user_regs_struct (asm/user_64.h) as PTRACE_GETREGS gives it, of 32-bit code too; `state` is the
NT_X86_XSTATE set: the FXSAVE area, the XSAVE header at 512, then components where CPUID leaf 0xd puts them.

A thread of 32-bit code ("compat") runs our 64-bit code as any other does: the segment in cs is all that it takes.
"""

from __future__ import annotations

import struct

from engine.errors import BadImage, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.kernel.ptrace import Tracee

    Component = Callable[[int], tuple[int, int] | None]

NAME = "x86_64"
MARCH = 1  # core_entry.march
EXTENDED_SET = 0x202  # NT_X86_XSTATE
TASK_SIZE = 0x7FFFFFFFF000
ARCH_MAP_VDSO = 0x2003  # ARCH_MAP_VDSO_64 of asm/prctl.h
ARCH_MAP_VDSO_COMPAT = 0x2002  # ARCH_MAP_VDSO_32

# In the order of struct user_regs_struct, with the names of user_x86_regs_entry.
_NAMES = [
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig_ax",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
]
_AT = {name: i for i, name in enumerate(_NAMES)}
IP_AT = _AT["ip"] * 8  # bytes
_NOT_COMPAT = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "fs_base", "gs_base")
_REGS = struct.Struct("<27Q")
_ARGS = ("di", "si", "dx", "r10", "r8", "r9")
_COMPAT_ARGS = ("bx", "cx", "dx", "si", "di", "bp")
_COMPAT_CS, _NATIVE_CS = 0x23, 0x33  # __USER32_CS, __USER_CS (asm/segment.h)
_SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
_IN_LDT = 4  # of a selector: it is of the task's own table (modify_ldt(2))
NATIVE, COMPAT = 1, 2  # user_x86_regs_entry.mode

# Extended state components: number in XCR0, field of user_x86_xsave_entry, element size in bytes.
_COMPONENTS = (
    (2, "ymmh_space", 4),
    (3, "bndreg_state", 8),
    (4, "bndcsr_state", 8),
    (5, "opmask_reg", 8),
    (6, "zmm_upper", 8),
    (7, "hi16_zmm", 8),
    (9, "pkru", 4),
)
# Elements that a component has in the image, also on a CPU without it, as the field's readers expect.
_ELEMENTS = {"ymmh_space": 64, "opmask_reg": 8, "zmm_upper": 64, "hi16_zmm": 128}
_LEGACY = struct.Struct("<HHHHQQII32I64I12I")  # the FXSAVE area up to the software-reserved bytes
_MXCSR_MASK = 28
_XSTATE_BV = 512
_CET = 11  # the component of a CPU that has shadow stacks
_ENABLED = 464  # where the kernel says which components it enabled: XCR0, at the software-reserved bytes (asm/user.h)
_LEGACY_COMPONENTS = 3  # x87 and SSE, in the FXSAVE area
_HELD = _LEGACY_COMPONENTS | sum(1 << number for number, _, _ in _COMPONENTS)
_PKRU = 9
_FIRST_PKRU = 0x55555554  # what Linux starts every task with: all keys but 0 without rights
_FIRST_MXCSR = 0x1F80
_TLS_ENTRIES = (12, 13, 14)  # GDT_ENTRY_TLS_MIN and on (asm/segment.h)
_USER_DESC = struct.Struct("<IIII")

_ERESTART = range(-514, -511)  # ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND
_ERESTARTNOINTR = -513
_ERESTART_RESTARTBLOCK = -516
_EINTR = -4
_NR_exit = 60
SYSCALL = b"\x0f\x05"  # the instruction of 64-bit code
_NR_restart_syscall, _NR_restart_syscall_COMPAT = 219, 0
_SYSCALL_SIZE = 2
_JUMP_HOME, _FAR_JUMP_HOME = b"\xff\x25", b"\xff\x2d"  # jmp, ljmp *offset(%rip)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def get(regs: bytes | bytearray, name: str) -> int:
    """One register, unsigned."""
    value: int = struct.unpack_from("<Q", regs, _AT[name] * 8)[0]
    return value


def put(regs: bytearray, **values: int) -> None:
    """Set registers by name."""
    for name, value in values.items():
        struct.pack_into("<Q", regs, _AT[name] * 8, value & 0xFFFFFFFFFFFFFFFF)


def is_compat(regs: bytes | bytearray) -> bool:
    """Does the thread run 32-bit code?"""
    return get(regs, "cs") == _COMPAT_CS


def foreign_segments(regs: bytes | bytearray) -> list[str]:
    """Registers with segments that nothing in an image describes, or that are of neither kind of program."""
    out = [f"{name} is {get(regs, name):#x}" for name in _SELECTORS if get(regs, name) & _IN_LDT]
    if not out and get(regs, "cs") not in (_COMPAT_CS, _NATIVE_CS):
        out.append(f"cs is {get(regs, 'cs'):#x}")
    return out


def jump(regs: bytearray, to: int) -> None:
    """Let a thread go on in code of ours."""
    put(regs, ip=to, orig_ax=-1, cs=_NATIVE_CS)


def for_syscall(regs: bytes | bytearray, at: int, nr: int, *args: int) -> bytearray:
    """The registers with which a thread executes one system call at the instruction `at` of ours."""
    out = bytearray(regs)
    jump(out, at)
    put(out, ax=nr, **dict(zip(_ARGS, args, strict=False)))
    return out


def for_syscall_compat(regs: bytes | bytearray, at: int, nr: int, *args: int) -> bytearray:
    """The same for a call of the table of 32-bit programs; `at` is the instruction for these."""
    out = bytearray(regs)
    jump(out, at)
    put(out, ax=nr, **{name: value & 0xFFFFFFFF for name, value in zip(_COMPAT_ARGS, args, strict=False)})
    return out


def syscall_result(regs: bytes | bytearray) -> int:
    """What a system call returned, -errno included."""
    return _signed(get(regs, "ax"))


def syscall_args(regs: bytes | bytearray) -> list[int]:
    """The six arguments of the system call that the thread is in."""
    if is_compat(regs):
        return [get(regs, name) & 0xFFFFFFFF for name in _COMPAT_ARGS]
    return [get(regs, name) for name in _ARGS]


def interrupted(regs: bytes | bytearray) -> tuple[int, int] | None:
    """(number, -errno) of the system call that the stop interrupted and the kernel will restart; None if none."""
    ax = syscall_result(regs)
    nr = _signed(get(regs, "orig_ax"))
    if nr >= 0 and (ax in _ERESTART or ax == _ERESTART_RESTARTBLOCK):
        return nr, ax
    return None


def needs_restart_block(regs: bytes | bytearray) -> bool:
    """Is the interrupted system call one that the kernel continues with restart_syscall(2)?"""
    pending = interrupted(regs)
    return pending is not None and pending[1] == _ERESTART_RESTARTBLOCK


def failed_with_eintr(regs: bytes | bytearray) -> int | None:
    """The number of the system call that has just returned EINTR; None for any other state."""
    nr = _signed(get(regs, "orig_ax"))
    return nr if nr >= 0 and syscall_result(regs) == _EINTR else None


def repeat(regs: bytearray, nr: int) -> None:
    """Have the kernel make the system call again when the thread is resumed, as number `nr`."""
    put(regs, ax=_ERESTARTNOINTR, orig_ax=nr)


def resumed(regs: bytes | bytearray) -> bytearray:
    """The registers with which the thread repeats an interrupted system call by itself, without the kernel's help."""
    out = bytearray(regs)
    pending = interrupted(regs)
    if pending:
        restart = _NR_restart_syscall_COMPAT if is_compat(regs) else _NR_restart_syscall
        nr = restart if pending[1] == _ERESTART_RESTARTBLOCK else pending[0]
        put(out, ax=nr, ip=get(regs, "ip") - _SYSCALL_SIZE)
    return out


def graft_registers(regs: bytes | bytearray) -> bytes:
    """What the graft puts back when it goes home alone: the flags, r15 to di, sp, ip (blobs/arch/x86_64.h)."""
    out = resumed(regs)
    home = get(out, "ip") & 0xFFFFFFFF | _COMPAT_CS << 32 if is_compat(out) else get(out, "ip")
    values = [get(out, "flags"), *(get(out, n) for n in _NAMES[:15]), get(out, "sp"), home]
    return struct.pack("<18Q", *values)


def graft_of(regs: bytes | bytearray, code: bytes) -> bytes:
    """The graft's instructions for such a thread: to 32-bit code they jump home by a far jump, to ip and cs."""
    return code.replace(_JUMP_HOME, _FAR_JUMP_HOME) if is_compat(regs) else code


def dump_registers(
    core: Any, regs: bytes | bytearray, state: bytes | bytearray, component: Component, memo: dict[bytes, Any]
) -> None:
    """Fill core.thread_info's gpregs and fpregs from the register sets; `component` is an XstateLayout.

    `memo` keeps what was made of one thread's extended state for others that have the same.

    Raises Unsupported when the thread uses a component that the image has no field for (AMX tiles, APX).
    """
    info = core.thread_info
    gp = info.gpregs
    values = dict(zip(_NAMES, _REGS.unpack(regs), strict=True))
    if interrupted(regs):
        if needs_restart_block(regs):
            values["ax"] = _EINTR & 0xFFFFFFFFFFFFFFFF
        else:
            values["ax"] = values["orig_ax"]
            values["ip"] -= _SYSCALL_SIZE
    gp.mode = NATIVE
    if is_compat(regs):
        gp.mode = COMPAT
        # as the register set of 32-bit code has them: no bases, which are the segments', and no r8 to r15
        values = {name: value & 0xFFFFFFFF * (name not in _NOT_COMPAT) for name, value in values.items()}
    for name, value in values.items():
        setattr(gp, name, value)
    whole = bytes(state)
    known = memo.get(whole)
    if known is not None:
        info.fpregs.CopyFrom(known)
        return
    fp = memo[whole] = info.fpregs
    f = _LEGACY.unpack_from(state)
    fp.cwd, fp.swd, fp.twd, fp.fop, fp.rip, fp.rdp, fp.mxcsr, fp.mxcsr_mask = f[:8]
    fp.st_space.extend(f[8:40])
    fp.xmm_space.extend(f[40:104])
    if len(state) < _XSTATE_BV + 64:
        return
    raw_components = bytes(state[_XSTATE_BV:])
    known = memo.get(raw_components)
    if known is not None:
        fp.xsave.CopyFrom(known)
        return
    xsave = memo[raw_components] = fp.xsave
    if component(_CET):
        xsave.cet.cet = xsave.cet.ssp = 0  # no shadow stack: a task that has one is refused
    used: int = struct.unpack_from("<Q", state, _XSTATE_BV)[0]
    foreign = [n for n in range(63) if used & ~_HELD & 1 << n and _in_use(state, component(n))]
    if foreign:
        raise Unsupported([f"it uses {_names(foreign)}, which CRIU's images have no field for"])
    xsave.xstate_bv = used & _HELD
    for number, field, size in _COMPONENTS:
        where = component(number)
        raw = state[where[0] : where[0] + where[1]] if where else b""
        # pkru's component is eight bytes of which four count; the MPX ones exist on no CPU that a 6.x kernel drives
        count = {"pkru": 1, "bndreg_state": 8, "bndcsr_state": 2}.get(field, len(raw) // size) if raw else 0
        count = count or _ELEMENTS.get(field, 0)
        raw = bytes(raw) + bytes(max(0, count * size - len(raw)))
        getattr(xsave, field).extend(struct.unpack_from(f"<{count}{'Q' if size == 8 else 'I'}", raw))


def dump_exit(core: Any, at: int, status: int) -> None:
    """Have core.thread_info's registers make exit(2) with the system call instruction at that address."""
    gp = core.thread_info.gpregs
    gp.ip, gp.ax, gp.orig_ax, gp.di = at, _NR_exit, 0xFFFFFFFFFFFFFFFF, status


def areas(tracee: Tracee) -> list[bytes]:
    """The thread's GDT entries (set_thread_area(2))."""
    return [tracee.thread_area(number) for number in _TLS_ENTRIES]


def dump_areas(core: Any, entries: list[bytes], memo: dict[bytes, Any]) -> None:
    """Fill core.thread_info.tls with them, used or not; `memo` as for dump_registers."""
    key = b"".join(entries)
    if key in memo:
        core.thread_info.tls.extend(memo[key])
        return
    memo[key] = core.thread_info.tls
    for raw in entries:
        entry, base, limit, bits = _USER_DESC.unpack(raw)
        core.thread_info.tls.add(
            entry_number=entry,
            base_addr=base,
            limit=limit,
            seg_32bit=bits & 1,
            contents_l=bits >> 1 & 1,
            contents_h=bits >> 2 & 1,
            read_exec_only=bits >> 3 & 1,
            limit_in_pages=bits >> 4 & 1,
            seg_not_present=bits >> 5 & 1,
            usable=bits >> 6 & 1,
        )


def restore_areas(core: Any, tracee: Tracee) -> None:
    """Set the GDT entries that were in use; before the registers, whose selectors may name them.

    From outside: set_thread_area(2) is a system call of 32-bit code only.
    """
    for d in core.thread_info.tls:
        if d.seg_not_present and not d.usable and not d.base_addr and not d.limit:
            continue
        bits = d.seg_32bit | d.contents_l << 1 | d.contents_h << 2 | d.read_exec_only << 3
        bits |= d.limit_in_pages << 4 | d.seg_not_present << 5 | d.usable << 6
        tracee.set_thread_area(d.entry_number, _USER_DESC.pack(d.entry_number, d.base_addr, d.limit, bits))


def general_of(core: Any) -> bytes:
    """The general register set to restore from core.thread_info.

    An image holds a system call to repeat as its number in ax with ip on the instruction, or as ax = -EINTR: in both
    cases nothing is left for the kernel to restart, so orig_ax is -1.
    """
    gp = core.thread_info.gpregs
    values = {name: getattr(gp, name) for name in _NAMES}
    values["orig_ax"] = 0xFFFFFFFFFFFFFFFF
    if gp.mode == COMPAT:
        bases = {d.entry_number: d.base_addr for d in core.thread_info.tls}
        for name in ("fs", "gs"):
            values[f"{name}_base"] = bases.get(values[name] >> 3, 0)
    return _REGS.pack(*values.values())


def extended_key(core: Any) -> bytes:
    """What extended_of() goes by: equal for threads that have the same state."""
    key: bytes = core.thread_info.fpregs.SerializeToString()
    return key


def extended_of(core: Any, current: bytes | bytearray, component: Component) -> tuple[bytes, list[str]]:
    """The extended register set to restore, and what of the image this CPU cannot hold.

    `current` is the thread's present set: it gives the size, the software-reserved bytes and which components the
    kernel has enabled. A component whose bit in xstate_bv is clear is in its initial state, which every CPU can hold.
    Raises Unsupported when the image says of a component that it was in use, and does not hold it.
    """
    fp = core.thread_info.fpregs
    out = bytearray(len(current))
    out[_ENABLED:_XSTATE_BV] = current[_ENABLED:_XSTATE_BV]
    legacy = [fp.cwd, fp.swd, fp.twd, fp.fop, fp.rip, fp.rdp, fp.mxcsr, fp.mxcsr_mask]
    legacy += [*_fixed(fp.st_space, 32, "st_space"), *_fixed(fp.xmm_space, 64, "xmm_space"), *[0] * 12]
    _LEGACY.pack_into(out, 0, *legacy)
    missing: list[str] = []
    bits = fp.mxcsr & ~(struct.unpack_from("<I", current, _MXCSR_MASK)[0] or 0xFFBF)
    if bits:
        missing.append(f"bits {bits:#x} of mxcsr (misalignsse is 0x20000)")
    xsave = fp.xsave
    bv = xsave.xstate_bv if fp.HasField("xsave") else _LEGACY_COMPONENTS
    foreign = [n for n in range(64) if bv & ~_HELD & 1 << n]
    if foreign:
        raise Unsupported(
            [f"a task used {_names(foreign)}, which its images do not hold; end that use, and dump again"]
        )
    used = bv & _LEGACY_COMPONENTS
    if fp.mxcsr != _FIRST_MXCSR:
        used |= 2  # with no component that needs it in use, the kernel would not look at it
    enabled = struct.unpack_from("<Q", current, _ENABLED)[0]
    for number, field, size in _COMPONENTS:
        values = list(getattr(xsave, field))
        where = component(number) if enabled >> number & 1 else None
        if not bv >> number & 1:
            if number == _PKRU and where and not values:  # of a CPU without: as every new task has it here
                out[where[0] : sum(where)] = current[where[0] : sum(where)]
                used |= struct.unpack_from("<Q", current, _XSTATE_BV)[0] & 1 << number
            continue
        if where is None:
            if any(values) and not (number == _PKRU and values[0] == _FIRST_PKRU):
                missing.append(_names([number]))
            continue
        if len(values) * size > where[1]:
            raise BadImage("core image", 0, f"{field} has {len(values)} elements, more than a CPU holds; dump again")
        struct.pack_into(f"<{len(values)}{'Q' if size == 8 else 'I'}", out, where[0], *values)
        used |= 1 << number
    struct.pack_into("<Q", out, _XSTATE_BV, used)
    return bytes(out), missing


def _in_use(state: bytes | bytearray, where: tuple[int, int] | None) -> bool:
    """Is a component whose bit is set anything but zero? If we cannot tell, it is."""
    return where is None or any(state[where[0] : sum(where)])


def _names(numbers: list[int]) -> str:
    from engine.arch.x86_cpu import component_name

    return ", ".join(map(component_name, numbers))


def _fixed(values: Any, count: int, field: str) -> list[int]:
    if len(values) not in (0, count):
        raise BadImage("core image", 0, f"{field} has {len(values)} elements instead of {count}; dump again")
    return list(values) or [0] * count
