"""32-bit tasks on a 64-bit kernel ("compat"): the same engine with a few differences, all of them told from here.

They run our 64-bit code by a change of the code segment (engine/arch/), from an arena that lies below 4 GiB. What the
kernel notes by the kind of system call is asked and set by 32-bit ones (Program.sys_compat): signal actions, whose
frames differ, and the robust list. What it notes by the program that was executed only execve(2) could set: restored
tasks descend from a 64-bit one, so they have a [vsyscall] mapping and, for calls of 64-bit code, all addresses.
"""

from __future__ import annotations

import os

from engine.kernel import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

_MTYPE, _COMPAT = 1, 2  # core_entry.mtype X86_64, user_x86_regs_entry.mode COMPAT
_END = 1 << 32


def is_compat(core: Any) -> bool:
    """Is it the core_entry of a thread of a 32-bit program?"""
    return bool(core.mtype == _MTYPE and core.thread_info.gpregs.mode == _COMPAT)


def is_small(vmas: Iterable[proc.Vma]) -> bool:
    """Is all of an address space below 4 GiB? That of a 32-bit program is; a 64-bit one's stack is not."""
    return all(v.end <= _END or v.path == "[vsyscall]" for v in vmas)


def is_program(pid: int) -> bool:
    """Is the executable a 32-bit one (ELFCLASS32, elf(5))?"""
    fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 5) == b"\x7fELF\x01"
    finally:
        os.close(fd)


def blockers(arch: ModuleType, pid: int, threads: Iterable[tuple[int, bytes | bytearray]], small: bool) -> list[str]:
    """What of a frozen process' code segments cannot be dumped; `threads` are (tid, general registers)."""
    out = []
    kinds = set()
    for tid, regs in threads:
        if segments := arch.foreign_segments(regs):
            out.append(
                f"thread {tid} uses segments of its own (modify_ldt(2)): {', '.join(segments)}: not supported yet"
            )
        kinds.add(arch.is_compat(regs))
    if out or (kinds == {False} and not small):
        return out
    program = is_program(pid)
    if kinds == {program}:
        return [] if small or not program else ["is a 32-bit program with memory above 4 GiB: not supported"]
    own, other = ("32", "64") if program else ("64", "32")
    return [f"is a {own}-bit program in {other}-bit code: not supported; dump it when it is not"]


def image_blockers(cores: Iterable[tuple[int, Any]]) -> list[str]:
    """The same for images: (tid, core_entry) of the threads of one process."""
    kinds = {is_compat(core) for _, core in cores}
    return ["has threads in 32-bit and in 64-bit code: not supported"] if len(kinds) > 1 else []
