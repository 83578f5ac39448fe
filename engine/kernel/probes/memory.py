"""Probes of memory: pagemap, userfaultfd, the vdso, what can be mapped and moved."""

from __future__ import annotations

import os
from fcntl import ioctl
from struct import pack, pack_into, unpack, unpack_from

from engine.blocks import suppress
from engine.kernel.probes import raw
from engine.kernel.probes.raw import PAGE

PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
PM_SCAN_ARG = 96
PAGE_IS_WRITTEN, PAGE_IS_PRESENT, PAGE_IS_GUARD = 1 << 1, 1 << 3, 1 << 8
MADV_GUARD_INSTALL = 102
SOFT_DIRTY = 1 << 55

ARCH_MAP_VDSO_32, ARCH_MAP_VDSO_64 = 0x2002, 0x2003
# mov $20, %eax; int $0x80; ret: getpid() as 32-bit programs call it
GETPID_32 = bytes.fromhex("b814000000cd80c3")

UFFD_API = 0xAA
UFFDIO_API = 0xC018AA3F  # _IOWR(0xaa, 0x3f, struct uffdio_api)
UFFDIO_REGISTER = 0xC020AA00
UFFDIO_COPY = 0xC028AA03
UFFD_EVENT_FORK, UFFD_EVENT_REMAP, UFFD_EVENT_REMOVE, UFFD_EVENT_UNMAP = 1 << 1, 1 << 2, 1 << 3, 1 << 6
NONCOOPERATIVE = UFFD_EVENT_FORK | UFFD_EVENT_REMAP | UFFD_EVENT_REMOVE | UFFD_EVENT_UNMAP
REGISTER_MISSING = 1

MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2


def _scan(start: int, pages: int, category: int) -> list[tuple[int, int, int]]:
    """(start, end, categories) of the runs of pages that are in the category."""
    found = raw.buffer(24 * 8)
    arg = bytearray(PM_SCAN_ARG)
    # size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof_mask, return_mask
    pack_into(
        *("12Q", arg, 0, PM_SCAN_ARG, 0, start, start + pages * PAGE, 0),
        *(raw.address(found), 8, 0, 0, category, 0, category),
    )
    with open("/proc/self/pagemap", "rb") as f:
        count = ioctl(f, PAGEMAP_SCAN, arg)
    return [unpack_from("QQQ", found.raw, 24 * i) for i in range(count)]


def pagemap_scan() -> bool:
    """Documentation/admin-guide/mm/pagemap.rst: PAGEMAP_SCAN finds the one page that is there."""
    start = raw.map_pages(4)
    raw.poke(start + PAGE, b"x")
    return _scan(start, 4, PAGE_IS_PRESENT) == [(start + PAGE, start + 2 * PAGE, PAGE_IS_PRESENT)]


def pagemap_scan_guard_pages() -> bool:
    """madvise(2): MADV_GUARD_INSTALL, and PAGEMAP_SCAN tells such pages."""
    start = raw.map_pages(4)
    raw.c("madvise", start + PAGE, 2 * PAGE, MADV_GUARD_INSTALL)
    return _scan(start, 4, PAGE_IS_GUARD) == [(start + PAGE, start + 3 * PAGE, PAGE_IS_GUARD)]


def mem_dirty_track() -> bool:
    """Documentation/admin-guide/mm/soft-dirty.rst: the bit goes with clear_refs and comes with a write."""
    start = raw.map_pages(2)
    raw.poke(start, b"x")
    raw.poke(start + PAGE, b"x")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("4")
    raw.poke(start + PAGE, b"y")
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        entries = unpack("QQ", os.pread(pagemap.fileno(), 16, start // PAGE * 8))
    return not entries[0] & SOFT_DIRTY and bool(entries[1] & SOFT_DIRTY)


def aio_remap() -> bool:
    """io_setup(2): the ring can be moved, and works at its new address."""
    context = raw.buffer(8)
    raw.syscall("io_setup", 1, context)
    old: int = unpack("Q", context.raw)[0]
    size = next(
        end - start
        for start, end in (
            (int(x, 16) for x in line.split(None, 1)[0].split("-")) for line in raw.lines("/proc/self/maps")
        )
        if start == old
    )
    new = raw.map_pages(size // PAGE)
    moved = raw.c("mremap", old, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, new)
    return moved == new and raw.syscall("io_getevents", new, 0, 1, raw.buffer(32), raw.buffer(16)) == 0


def _uffd(features: int) -> int:
    fd = raw.syscall("userfaultfd", os.O_CLOEXEC | os.O_NONBLOCK)
    ioctl(fd, UFFDIO_API, pack("QQQ", UFFD_API, features, 0))
    return fd


def uffd() -> bool:
    """userfaultfd(2): a page that is missing can be put there."""
    fd = _uffd(0)
    start, source = raw.map_pages(1), raw.map_pages(1)
    raw.poke(source, b"lazy")
    ioctl(fd, UFFDIO_REGISTER, pack("QQQQ", start, PAGE, REGISTER_MISSING, 0))
    done = bytearray(pack("QQQQq", start, source, PAGE, 0, 0))
    ioctl(fd, UFFDIO_COPY, done)
    return bool(unpack_from("q", done, 32)[0] == PAGE)


def uffd_noncoop() -> bool:
    """ioctl_userfaultfd(2): the events of a task that does not know that it is watched."""
    return _uffd(NONCOOPERATIVE) >= 0


def _map_vdso(code: int) -> bool:
    """Take our vdso away and let the kernel map one where we want it.

    Nothing may ask for the time afterwards: the C library still calls the old one.
    """
    import ctypes

    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    place = raw.map_pages(16)
    raw.c("munmap", place, 16 * PAGE)
    arch_prctl = raw.libc().arch_prctl
    arch_prctl.restype = ctypes.c_long
    munmap = raw.libc().munmap
    for line in raw.lines("/proc/self/maps"):
        if line.endswith(("[vdso]", "[vvar]", "[vvar_vclock]")):
            start, end = (int(x, 16) for x in line.split(None, 1)[0].split("-"))
            munmap(ctypes.c_long(start), ctypes.c_long(end - start))
    if arch_prctl(ctypes.c_long(code), ctypes.c_long(place)) <= 0:
        return False
    for page in range(place, place + 16 * PAGE, PAGE):
        with suppress(OSError):  # the kernel's data before it cannot be read this way
            if os.pread(memory, 4, page) == b"\x7fELF":
                return True
    return False


def can_map_vdso() -> bool:
    """asm/prctl.h: ARCH_MAP_VDSO_64."""
    return os.uname().machine == "x86_64" and _map_vdso(ARCH_MAP_VDSO_64)


def compat_cr() -> bool:
    """asm/prctl.h: ARCH_MAP_VDSO_32, and the kernel takes calls of 32-bit programs."""
    import ctypes

    if os.uname().machine != "x86_64":
        return False
    code = raw.map_pages(1)
    raw.poke(code, GETPID_32)
    raw.c("mprotect", code, PAGE, raw.PROT_READ | raw.PROT_EXEC)
    return ctypes.CFUNCTYPE(ctypes.c_int)(code)() == os.getpid() and _map_vdso(ARCH_MAP_VDSO_32)


def memfd_hugetlb() -> bool:
    """memfd_create(2): MFD_HUGETLB."""
    os.close(os.memfd_create("zdtm", os.MFD_CLOEXEC | os.MFD_HUGETLB))
    return True
