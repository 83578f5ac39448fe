"""BPF maps (bpf(2)): their properties, and all of their contents at a time."""

from __future__ import annotations

import errno
import mmap
import struct

from engine.errors import KernelError
from engine.kernel._native import ffi, lib
from engine.kernel.call import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# commands (linux/bpf.h)
_MAP_CREATE, _MAP_LOOKUP_ELEM, _MAP_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _BTF_LOAD, _BTF_GET_FD_BY_ID = (
    0,
    1,
    14,
    15,
    18,
    19,
)
_MAP_FREEZE, _MAP_LOOKUP_BATCH, _MAP_UPDATE_BATCH = 22, 24, 26
HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH, LPM_TRIE = 1, 2, 5, 6, 9, 10, 11
_PERCPU = (PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH)
BPF_F_RDONLY, BPF_F_WRONLY = 1 << 3, 1 << 4
_CREATE = struct.Struct("<7I16s5IQ")  # of union bpf_attr, as the ones below
_BATCH = struct.Struct("<QQQQIIQQ")
_INFO = struct.Struct("<6I16s2I2Q4IQ")  # struct bpf_map_info
_BTF_INFO = struct.Struct("<QIIQII")  # struct bpf_btf_info
_MAX_CPUS = 1 << 16  # more than any kernel has
_NAME = 16  # bytes, BPF_OBJ_NAME_LEN
_MAP_NORESERVE = 0x4000


class Info:
    """What a map is; sizes are in bytes, a value's that of one CPU. `btf_id` is 0 for a map without types."""

    __slots__ = ("btf_id", "btf_key", "btf_value", "extra", "flags", "ifindex", "kind", "max_entries", "name", "sizes")

    def __init__(self, kind: int, sizes: tuple[int, int], max_entries: int, flags: int) -> None:
        self.kind = kind
        self.sizes = sizes  # of a key and of a value
        self.max_entries = max_entries
        self.flags = flags  # BPF_F_*
        self.name = b""
        self.extra = self.ifindex = self.btf_id = self.btf_key = self.btf_value = 0

    @property
    def value_size(self) -> int:
        """Bytes of a value as it is read and written: of maps that have one for each possible CPU, all of them."""
        if self.kind not in _PERCPU:
            return self.sizes[1]
        return (self.sizes[1] + 7 & ~7) * _possible_cpus()


def _possible_cpus() -> int:
    """Of how many CPUs the kernel has values: as many as it fills in. Within another root there may be no /sys."""
    import os

    it = Info(PERCPU_ARRAY, (4, 8), 1, 0)
    fd = create(it, 0)
    try:
        key, values = bytearray(4), bytearray(b"\xff" * (8 * _MAX_CPUS))
        _bpf(_MAP_LOOKUP_ELEM, bytearray(struct.pack("<QQQQ", fd, _at(key), _at(values), 0)), "BPF_MAP_LOOKUP_ELEM")
    finally:
        os.close(fd)
    return values.index(0xFF) // 8


def _bpf(command: int, attr: Any, what: str) -> int:
    return check(lib.zd_bpf(command, ffi.from_buffer(attr), len(attr)), f"bpf({what})")


def _at(buffer: Any) -> int:
    return int(ffi.cast("unsigned long", ffi.from_buffer(buffer)))


def by_id(ident: int, flags: int = 0) -> int:
    """A descriptor of a map by its id; `flags` may be BPF_F_RDONLY or BPF_F_WRONLY."""
    return _bpf(_MAP_GET_FD_BY_ID, bytearray(struct.pack("<III", ident, 0, flags)), f"BPF_MAP_GET_FD_BY_ID, {ident}")


def info(fd: int) -> tuple[int, Info]:
    """(id, properties) of a map."""
    raw = _info(fd, bytearray(_INFO.size))
    kind, ident, key, value, most, flags, name, ifindex, _, _, _, btf, btf_key, btf_value, _, extra = _INFO.unpack(raw)
    out = Info(kind, (key, value), most, flags)
    out.name, out.ifindex, out.extra = name.partition(b"\0")[0], ifindex, extra
    out.btf_id, out.btf_key, out.btf_value = btf, btf_key, btf_value
    return ident, out


def _info(fd: int, raw: bytearray) -> bytearray:
    _bpf(_OBJ_GET_INFO_BY_FD, bytearray(struct.pack("<IIQ", fd, len(raw), _at(raw))), "BPF_OBJ_GET_INFO_BY_FD")
    return raw


def types(ident: int) -> bytes:
    """The types (BTF) with this id."""
    import os

    fd = _bpf(_BTF_GET_FD_BY_ID, bytearray(struct.pack("<I", ident)), f"BPF_BTF_GET_FD_BY_ID, {ident}")
    try:
        size = _BTF_INFO.unpack(_info(fd, bytearray(_BTF_INFO.size)))[1]
        data = bytearray(size)
        _info(fd, bytearray(_BTF_INFO.pack(_at(data), size, 0, 0, 0, 0)))
        return bytes(data)
    finally:
        os.close(fd)


def load_types(data: bytes) -> int:
    """A descriptor of types (BTF)."""
    return _bpf(_BTF_LOAD, bytearray(struct.pack("<QQII", _at(data), 0, len(data), 0)), "BPF_BTF_LOAD")


def create(it: Info, btf_fd: int) -> int:
    """Make a map, and return a descriptor of it that may read and write."""
    name = it.name[: _NAME - 1]
    numa_node = 0  # which one nothing tells
    attr = _CREATE.pack(
        *(it.kind, *it.sizes, it.max_entries, it.flags, 0, numa_node, name, it.ifindex),
        *(btf_fd, it.btf_key, it.btf_value, 0, it.extra),
    )
    return _bpf(_MAP_CREATE, bytearray(attr), f"BPF_MAP_CREATE, type {it.kind}, {it.max_entries} entries")


def freeze(fd: int) -> None:
    """From now on nobody may change it by system calls."""
    _bpf(_MAP_FREEZE, bytearray(struct.pack("<I", fd)), "BPF_MAP_FREEZE")


def contents(fd: int, it: Info) -> tuple[int, mmap.mmap, mmap.mmap]:
    """(count, keys, values) of all entries, one behind the other. Room that is not used takes no memory."""
    flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
    keys = mmap.mmap(-1, it.max_entries * it.sizes[0], flags)
    values = mmap.mmap(-1, it.max_entries * it.value_size, flags)
    out = bytearray(max(it.sizes[0], 4))
    attr = bytearray(_BATCH.pack(0, _at(out), _at(keys), _at(values), it.max_entries, fd, 0, 0))
    try:
        _bpf(_MAP_LOOKUP_BATCH, attr, f"BPF_MAP_LOOKUP_BATCH, {it.max_entries} entries")
    except KernelError as e:
        if e.errno != errno.ENOENT:  # which says that these are all
            raise
    return _BATCH.unpack(attr)[4], keys, values


def update(fd: int, count: int, data: Any, keys: int, values: int) -> None:
    """Put `count` entries in, whose keys and values are at these offsets of `data`."""
    at = _at(data)
    attr = bytearray(_BATCH.pack(0, 0, at + keys, at + values, count, fd, 0, 0))
    _bpf(_MAP_UPDATE_BATCH, attr, f"BPF_MAP_UPDATE_BATCH, {count} entries")
