"""What the CPU says of itself: the CPUID instruction (x86 only)."""

from engine.kernel._native import ffi, lib


def cpuid(leaf: int, subleaf: int = 0) -> tuple[int, int, int, int] | None:
    """eax, ebx, ecx and edx of a leaf; None where this CPU has no such leaf. Intel SDM volume 2, CPUID."""
    registers = ffi.new("unsigned[4]")
    if lib.zd_cpuid(leaf, subleaf, registers) < 0:
        return None
    return registers[0], registers[1], registers[2], registers[3]
