"""Secret memory (memfd_secret(2)): whoever maps it has it, and nobody else can read it."""

from __future__ import annotations

import os

from engine.kernel._native import ffi, lib
from engine.kernel.call import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap

_MAGIC = 0x5345434D  # SECRETMEM_MAGIC
PAGE = 4096


def is_one(path: str) -> bool:
    """Does a link of procfs lead to such memory? KernelError for one that leads nowhere."""
    return check(lib.zd_fs_type(path.encode()), f"statfs({path})") == _MAGIC


def make() -> int:
    """New secret memory, of no size; the descriptor is close-on-exec. KernelError ENOSYS where it is not enabled."""
    return check(lib.zd_memfd_secret(os.O_CLOEXEC), "memfd_secret", "boot with secretmem.enable=1")


def present(memory: mmap.mmap) -> list[tuple[int, int]]:
    """(offset, bytes) of what of a mapping of it is there, in whole pages (mincore(2)): the rest has not been used."""
    size = len(memory)
    pages = ffi.new("unsigned char[]", -(-size // PAGE))
    check(lib.zd_mincore(ffi.from_buffer(memory), size, pages), f"mincore({size} bytes)")
    out: list[tuple[int, int]] = []
    for i, page in enumerate(bytes(pages)):
        if not page & 1:
            continue
        if out and sum(out[-1]) == i * PAGE:
            out[-1] = out[-1][0], out[-1][1] + PAGE
        else:
            out.append((i * PAGE, PAGE))
    if out and sum(out[-1]) > size:
        out[-1] = out[-1][0], size - out[-1][0]
    return out
