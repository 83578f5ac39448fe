"""BPF maps (bpf(2)): hash tables, arrays and tries, with their contents; other kinds hold what is of this kernel only.

A map is made anew, whoever else had it: programs that the kernel runs, and names in bpffs, keep the old one.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.images.schema import set_text, text
from engine.kernel import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

TYPE = 19  # fd_types.BPFMAP
_KINDS = (
    *(bpf.HASH, bpf.ARRAY, bpf.PERCPU_HASH, bpf.PERCPU_ARRAY),
    *(bpf.LRU_HASH, bpf.LRU_PERCPU_HASH, bpf.LPM_TRIE),
)
_IMAGE = "BPFMAP_DATA"
_MOST = 1 << 30  # bytes of keys or of values with one bpfmap_data_entry
_ACCESS = {os.O_RDONLY: bpf.BPF_F_RDONLY, os.O_WRONLY: bpf.BPF_F_WRONLY, os.O_RDWR: 0}


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for maps of other kinds, of a device."""
    kind = int(d.info["map_type"])
    if kind not in _KINDS:
        what = f"BPF map {d.info['map_id']} of type {kind} (enum bpf_map_type): only hashes, arrays and tries are"
        raise Unsupported([f"{d}: {what} supported; close it before the dump"])


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; the contents are `Survey`'s."""
    ident = int(d.info["map_id"])
    fd = bpf.by_id(ident)
    try:
        _, its = bpf.info(fd)
        if its.ifindex:
            raise Unsupported([f"{d}: BPF map {ident} is offloaded to a network device; close it before the dump"])
        entry.type = TYPE
        it = entry.bpf
        it.id, it.flags, it.pos = entry.id, d.flags & ~O_CLOEXEC, int(d.info["pos"])
        it.fown.SetInParent()
        it.map_type, it.map_id, it.max_entries, it.map_flags = its.kind, ident, its.max_entries, its.flags
        it.key_size, it.value_size = its.sizes
        it.memlock, it.frozen, it.ifindex, it.map_extra = int(d.info["memlock"]), d.info["frozen"] == "1", 0, its.extra
        set_text(it, "map_name", os.fsdecode(its.name))
        if its.btf_id:
            it.btf, it.btf_key_type_id, it.btf_value_type_id = bpf.types(its.btf_id), its.btf_key, its.btf_value
    finally:
        os.close(fd)


class Survey:
    """The maps of a tree, each once: what is in them."""

    __slots__ = ("_maps",)

    def __init__(self, scope: Scope) -> None:
        self._maps: dict[int, Descriptor] = {}

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._maps.setdefault(int(d.info["map_id"]), d)

    def blockers(self, pids: set[int]) -> list[str]:
        """Maps belong to nobody."""
        return []

    def write(self, images: Images, message: Any) -> None:
        """Write their contents."""
        parts = (part for ident in self._maps for part in _parts(message("bpfmap_data_entry"), ident))
        first = next(parts, None)
        if first is not None:
            images.write_chunks(_IMAGE, (), first[0], _chunks(first, parts))


def _parts(new: Any, ident: int) -> Iterator[tuple[Any, memoryview, memoryview]]:
    fd = bpf.by_id(ident)
    try:
        _, its = bpf.info(fd)
        count, keys, values = bpf.contents(fd, its)
    finally:
        os.close(fd)
    key, value = its.sizes[0], its.value_size
    at_once = max(_MOST // max(key, value), 1)
    for at in range(0, count, at_once):
        many = min(at_once, count - at)
        part = memoryview(keys)[at * key : (at + many) * key], memoryview(values)[at * value : (at + many) * value]
        yield new(map_id=ident, keys_bytes=many * key, values_bytes=many * value, count=many), *part


def _chunks(
    first: tuple[Any, memoryview, memoryview], rest: Iterator[tuple[Any, memoryview, memoryview]]
) -> Iterator[bytes | memoryview]:
    yield from first[1:]
    for entry, keys, values in rest:
        data: bytes = entry.SerializeToString()
        yield len(data).to_bytes(4, "little") + data
        yield keys
        yield values


class Objects:
    """The maps of images."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._by_map: dict[int, list[Any]] = {}
        for entry in opener.files.values():
            if entry.type == TYPE and entry.HasField("bpf"):
                self._by_map.setdefault(entry.bpf.map_id, []).append(entry)

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """A map, with all that was in it: every descriptor of it, by file id."""
        if not entry.HasField("bpf"):
            raise BadImage(self._opener.image, 0, f"file {entry.id:#x} is a BPF map without a bpfmap_file_entry")
        same = self._by_map[entry.bpf.map_id]
        made = self._make(entry.bpf)
        out: dict[int, int] = {}
        try:
            ident, _ = bpf.info(made)
            for other in same:
                out[other.id] = _open(other, ident)
        except BaseException:
            for fd in out.values():
                os.close(fd)
            raise
        finally:
            os.close(made)
        return out

    def _make(self, it: Any) -> int:
        its = bpf.Info(it.map_type, (it.key_size, it.value_size), it.max_entries, it.map_flags)
        its.name, its.extra, its.ifindex = os.fsencode(text(it.map_name)), it.map_extra, it.ifindex
        if its.kind not in _KINDS:
            raise BadImage(self._opener.image, 0, f"BPF map {it.map_id} is of type {its.kind}, which is not supported")
        btf = bpf.load_types(it.btf) if it.HasField("btf") else 0
        try:
            its.btf_key, its.btf_value = it.btf_key_type_id, it.btf_value_type_id
            made = bpf.create(its, btf)
        finally:
            if btf:
                os.close(btf)
        try:
            self._fill(made, it.map_id, its)
            if it.frozen:
                bpf.freeze(made)
        except BaseException:
            os.close(made)
            raise
        return made

    def _fill(self, fd: int, ident: int, its: bpf.Info) -> None:
        images = self._opener.images
        if not images.exists(_IMAGE):
            return
        spans = [span for span in images.read_spans(_IMAGE) if span[0].map_id == ident and span[0].count]
        data = _mapped(images.open_raw(_IMAGE)) if spans else None
        for entry, offset, _ in spans:
            _check(entry, its, images.name(_IMAGE))
            bpf.update(fd, entry.count, data, offset, offset + entry.keys_bytes)


def _mapped(fd: int) -> mmap.mmap:
    import mmap

    try:
        return mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    finally:
        os.close(fd)


def _check(entry: Any, its: bpf.Info, image: str) -> None:
    """Are the contents as long as they have to be?"""
    value = its.value_size
    if entry.keys_bytes != entry.count * its.sizes[0] or entry.values_bytes % entry.count:
        raise BadImage(image, 0, f"BPF map {entry.map_id}: {entry.keys_bytes} bytes of keys for {entry.count} entries")
    if entry.values_bytes != entry.count * value:
        what = f"values of {entry.values_bytes // entry.count} bytes, on this machine {value}"
        raise EngineError(f"BPF map {entry.map_id} has {what}: restore it on one with as many possible CPUs")


def _open(entry: Any, ident: int) -> int:
    import fcntl

    it = entry.bpf
    fd = bpf.by_id(ident, _ACCESS.get(it.flags & os.O_ACCMODE, 0))
    try:
        if rest := it.flags & ~os.O_ACCMODE:
            fcntl.fcntl(fd, fcntl.F_SETFL, rest)
    except OSError as e:
        os.close(fd)
        raise KernelError(f"fcntl(F_SETFL, {it.flags:#o})", e.errno or 0, f"file {entry.id:#x}") from e
    return fd
