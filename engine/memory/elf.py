"""What an ELF image in memory exports (elf(5)): enough of the format to find the functions of a vdso."""

from __future__ import annotations

import struct

_DYN = struct.Struct("<QQ")  # Elf64_Dyn: tag, value
_SYM = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section, value, size
_PHDR = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align
_IDENT = b"\x7fELF\x02\x01"  # ELFCLASS64, little-endian
_PHDRS_AT, _PHENTSIZE_AT = 32, 54  # e_phoff; e_phentsize and then e_phnum
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 4, 5, 6, 0x6FFFFEF5
_STT_FUNC = 2


def functions(image: bytes) -> dict[str, int]:
    """Offsets of the exported functions by name; ValueError for what is not a 64-bit shared object."""
    try:
        return _functions(image)
    except (struct.error, IndexError, OverflowError) as e:
        raise ValueError(f"not a whole ELF image: {e}") from e


def _functions(image: bytes) -> dict[str, int]:
    if image[: len(_IDENT)] != _IDENT:
        raise ValueError("not a 64-bit little-endian ELF image")
    (phoff,) = struct.unpack_from("<Q", image, _PHDRS_AT)
    size, count = struct.unpack_from("<HH", image, _PHENTSIZE_AT)
    headers = [_PHDR.unpack_from(image, phoff + i * size) for i in range(count)]
    loads = [vaddr - offset for kind, _, offset, vaddr, *_ in headers if kind == _PT_LOAD]
    at = next((offset for kind, _, offset, *_ in headers if kind == _PT_DYNAMIC), None)
    if len(loads) != 1 or at is None:
        raise ValueError("an ELF image that has not one PT_LOAD and one PT_DYNAMIC, as a vdso has")
    base = loads[0]
    dynamic: dict[int, int] = {}
    while True:
        tag, value = _DYN.unpack_from(image, at)
        if not tag:
            break
        dynamic.setdefault(tag, value - base)
        at += _DYN.size
    if not {_DT_STRTAB, _DT_SYMTAB} <= dynamic.keys():
        raise ValueError("an ELF image without dynamic symbols")
    out: dict[str, int] = {}
    for i in range(_symbols(image, dynamic)):
        name, info, _, section, value, _ = _SYM.unpack_from(image, dynamic[_DT_SYMTAB] + i * _SYM.size)
        if info & 0xF == _STT_FUNC and section:
            start = dynamic[_DT_STRTAB] + name
            out[image[start : image.index(b"\0", start)].decode("ascii", "replace")] = value - base
    if not all(0 < offset < len(image) for offset in out.values()):
        raise ValueError("an ELF image whose functions lie outside of it")
    return out


def _symbols(image: bytes, dynamic: dict[int, int]) -> int:
    """How many dynamic symbols there are: only the hash tables tell."""
    if _DT_HASH in dynamic:
        count: int = struct.unpack_from("<I", image, dynamic[_DT_HASH] + 4)[0]
        return count
    if _DT_GNU_HASH not in dynamic:
        raise ValueError("an ELF image without a hash table of its symbols")
    at = dynamic[_DT_GNU_HASH]
    buckets, first, bloom, _ = struct.unpack_from("<IIII", image, at)
    chains = at + 16 + bloom * 8 + buckets * 4
    last = max(struct.unpack_from(f"<{buckets}I", image, at + 16 + bloom * 8), default=0)
    if last < first:
        return int(first)
    while not struct.unpack_from("<I", image, chains + (last - first) * 4)[0] & 1:  # 1 ends a bucket's chain
        last += 1
    return int(last) + 1
