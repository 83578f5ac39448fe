"""Images in a directory: reading with all checks, writing with one system call an image."""

from __future__ import annotations

import os

from engine.errors import BadImage, Bug, KernelError
from engine.images import wire
from engine.images.table import IMAGES, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    from engine.images.pagemap import Pagemap
    from engine.images.schema import Schema

# Bigger images (ghost files, queues) are mapped, not read.
_MAP_FROM = 1 << 20


class Images:
    """The images of one directory, all opened relative to `dirfd`, which the caller owns. `path` is for messages.

    Kinds are the table's ("CORE"), ids what its pattern takes: `read_one("CORE", 42)` reads core-42.img.
    Whatever is wrong with an image raises BadImage(name, offset, what); what the kernel refuses, KernelError.
    """

    __slots__ = ("_kept", "_kept_spans", "_native", "_runs", "_version", "created", "dirfd", "path", "schema")

    def __init__(self, schema: Schema, dirfd: int, path: str, native: ModuleType | None = None) -> None:
        self.schema = schema
        self.dirfd = dirfd
        self.path = path
        self.created: list[str] = []
        self._version = 0
        self._kept: dict[str, list[Any]] = {}
        self._kept_spans: dict[str, list[tuple[Any, int, int]]] = {}
        self._runs: dict[str, tuple[Any, Pagemap]] = {}
        self._native = native

    @classmethod
    def open(cls, schema: Schema, path: str, native: ModuleType | None = None) -> Images:
        """The images of the directory `path`. Call `close` when done. Raises KernelError.

        `native` is engine.kernel.pagemap, which reads big images faster.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise KernelError(f"open({path!r})", e.errno or 0, "the directory of images") from e
        return cls(schema, fd, path, native)

    def close(self) -> None:
        """Close the directory."""
        os.close(self.dirfd)
        self.dirfd = -1

    def name(self, kind: str, *ids: int | str) -> str:
        """The file name of an image."""
        return IMAGES[kind].pattern % ids

    def exists(self, kind: str, *ids: int | str) -> bool:
        """Whether there is such an image."""
        return os.access(self.name(kind, *ids), os.F_OK, dir_fd=self.dirfd)

    def names(self) -> list[str]:
        """The names in the directory that are images', sorted."""
        return sorted(name for name in os.listdir(self.dirfd) if by_name(name))

    def version(self) -> int:
        """The version of the format: 2, or 1 for old images whose files lack the head magic."""
        if not self._version:
            self._version = int(self.read_one("INVENTORY").img_version)
        return self._version

    # Reading

    def read(self, kind: str, *ids: int | str) -> list[Any]:
        """All entries of an image, payloads passed over."""
        image = IMAGES[kind]
        name = image.pattern % ids
        if name in self._kept:
            return list(self._kept[name])
        data = self._load(name)
        pos = wire.body(image, data, name, self.version)
        if image.payload:
            return [span[0] for span in wire.parse(self.schema, image, data, name, pos)]
        entries = wire.run(self.schema, image.message, data, pos, name, self._native)
        wire.check_count(image, len(entries), name, len(data))
        if kind == "INVENTORY" and entries[0].img_version not in (1, 2):
            raise BadImage(
                name,
                pos,
                f"images of version {entries[0].img_version}; known are 1 and 2: restore with the CRIU that dumped",
            )
        return entries

    def keep(self, kind: str, *ids: int | str) -> list[Any]:
        """Like `read`, and later reads get the same: nothing is parsed twice, or changes after it was checked."""
        entries = self._kept[self.name(kind, *ids)] = self.read(kind, *ids)
        return entries

    def read_one(self, kind: str, *ids: int | str) -> Any:
        """The entry of an image that has exactly one."""
        entries = self.read(kind, *ids)
        if len(entries) != 1:
            name = IMAGES[kind].pattern % ids
            raise BadImage(name, 0, f"one {IMAGES[kind].message} expected, {len(entries)} are here; dump again")
        return entries[0]

    def read_pagemap(self, kind: str, ident: int) -> tuple[Any, list[Any]]:
        """The pagemap_head and the pagemap_entry list of a PAGEMAP (a pid's) or SHMEM_PAGEMAP (a shmid's)."""
        head, *entries = self.read(kind, ident)
        return head, entries

    def pagemap(self, kind: str, ident: int) -> tuple[Any, Pagemap]:
        """The same, as packed runs, read and checked once: later calls get the same."""
        image = IMAGES[kind]
        name = image.pattern % ident
        if name not in self._runs:
            from engine.images import pagemap  # a dump reads none

            data = self._load(name)
            pos = wire.body(image, data, name, self.version)
            self._runs[name] = pagemap.parse(self.schema, image, data, name, pos, self._native)
        return self._runs[name]

    def read_payload(self, kind: str, *ids: int | str) -> list[tuple[Any, bytes]]:
        """The entries of an image, each with its raw payload.

        GHOST_FILE gives ghost_file_entry first, with the contents; or with b"" and then (ghost_chunk_entry, contents)
        for each chunk. A TCP_STREAM's payload is its two queues, a BPFMAP_DATA's keys and values, one after the other.
        `wire.ipc_messages` takes IPCNS_MSG's apart. IPCNS_SHM and IPCNS_SEM keep the padding.
        """
        data, spans = self._spans(kind, *ids)
        return [(message, bytes(data[begin:end])) for message, begin, end in spans]

    def read_spans(self, kind: str, *ids: int | str) -> list[tuple[Any, int, int]]:
        """The same, but where the payloads are: (entry, offset, length) in bytes, to copy them from `open_raw`."""
        name = IMAGES[kind].pattern % ids
        return list(self._kept_spans[name] if name in self._kept_spans else self._sizes(kind, *ids))

    def keep_spans(self, kind: str, *ids: int | str) -> None:
        """Like `read_spans`, for later reads."""
        self._kept_spans[IMAGES[kind].pattern % ids] = self._sizes(kind, *ids)

    def _sizes(self, kind: str, *ids: int | str) -> list[tuple[Any, int, int]]:
        return [(message, begin, end - begin) for message, begin, end in self._spans(kind, *ids)[1]]

    def open_raw(self, kind: str, *ids: int | str) -> int:
        """A file descriptor to read an image's bytes by; the caller closes it."""
        return self._open(IMAGES[kind].pattern % ids)

    def size(self, kind: str, *ids: int | str) -> int:
        """The size of an image, in bytes."""
        name = IMAGES[kind].pattern % ids
        try:
            return os.stat(name, dir_fd=self.dirfd).st_size
        except OSError as e:
            raise self._unreadable(name, e) from e

    def _spans(self, kind: str, *ids: int | str) -> tuple[wire.Buffer, list[wire.Span]]:
        image = IMAGES[kind]
        name = image.pattern % ids
        data = self._load(name)
        pos = wire.body(image, data, name, self.version)
        return data, wire.parse(self.schema, image, data, name, pos)

    def _open(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.dirfd)
        except OSError as e:
            raise self._unreadable(name, e) from e

    def _unreadable(self, name: str, e: OSError) -> Exception:
        if isinstance(e, FileNotFoundError):
            return BadImage(name, 0, f"missing from {self.path}: dump again or copy the directory whole")
        return KernelError(f"open({self.path + '/' + name!r})", e.errno or 0)

    def _load(self, name: str) -> wire.Buffer:
        """The contents of a file: bytes, or a map of a big one."""
        fd = self._open(name)
        try:
            size = os.fstat(fd).st_size
            if size >= _MAP_FROM:
                import mmap

                return mmap.mmap(fd, size, prot=mmap.PROT_READ)
            data = os.read(fd, size)
            while len(data) < size:
                more = os.read(fd, size - len(data))
                if not more:
                    break
                data += more
            return data
        except OSError as e:
            raise KernelError(f"read({self.path + '/' + name!r})", e.errno or 0) from e
        finally:
            os.close(fd)

    # Writing

    def write(self, kind: str, ids: tuple[int | str, ...], entries: list[Any]) -> None:
        """Write an image of entries without payload."""
        self._store(IMAGES[kind].pattern % ids, wire.serialize(IMAGES[kind], entries))

    def write_all(self, kind: str, ids: tuple[int | str, ...], whole: Any) -> None:
        """The same of all entries in one message, as `Schema.many` makes it."""
        image = IMAGES[kind]
        self._store(image.pattern % ids, wire.serialize_all(image, whole, self._native))

    def write_payload(self, kind: str, ids: tuple[int | str, ...], entries: list[tuple[Any, bytes]]) -> None:
        """Write an image of (entry, raw payload), padding included; the reverse of `read_payload`.

        Raises Bug when a payload is not as long as its entry says.
        """
        image = IMAGES[kind]
        for message, payload in entries:
            size = wire.payload_size(image, message)
            if size is not None and size != len(payload):
                raise Bug(f"{image.pattern % ids}: the entry says {size} bytes, the payload has {len(payload)}")
        self._store(image.pattern % ids, wire.serialize(image, [e[0] for e in entries], [e[1] for e in entries]))

    def write_pagemap(self, kind: str, ident: int, head: Any, entries: list[Any]) -> None:
        """Write a PAGEMAP (of a pid) or SHMEM_PAGEMAP (of a shmid)."""
        self._store(IMAGES[kind].pattern % ident, wire.serialize(IMAGES[kind], [head, *entries]))

    def write_chunks(
        self, kind: str, ids: tuple[int | str, ...], head: Any, chunks: Iterable[bytes | memoryview]
    ) -> None:
        """Write an image of one entry, and others that are serialised already."""
        fd = self.begin(kind, ids, [head])
        try:
            for chunk in chunks:
                self._write(fd, self.name(kind, *ids), chunk)
        finally:
            os.close(fd)

    def begin(self, kind: str, ids: tuple[int | str, ...], entries: list[Any]) -> int:
        """Write an image up to where the payload of its last entry comes; returns the descriptor to write that by."""
        name = IMAGES[kind].pattern % ids
        fd = self._create(name)
        try:
            self._write(fd, name, wire.serialize(IMAGES[kind], entries))
        except KernelError:
            os.close(fd)
            raise
        return fd

    def create_raw(self, kind: str, *ids: int | str) -> int:
        """A file descriptor to write a raw image (pages-1.img) by; the caller closes it."""
        return self._create(IMAGES[kind].pattern % ids)

    def remove_created(self) -> None:
        """Remove every file that this object has created: the dump failed."""
        while self.created:
            try:
                os.unlink(self.created.pop(), dir_fd=self.dirfd)
            except FileNotFoundError:
                continue
            except OSError as e:
                raise KernelError(f"unlink in {self.path!r}", e.errno or 0) from e

    def _create(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o644, dir_fd=self.dirfd)
        except OSError as e:
            raise KernelError(f"open({self.path + '/' + name!r}, O_CREAT)", e.errno or 0) from e
        self.created.append(name)
        self._kept.pop(name, None)
        self._runs.pop(name, None)
        return fd

    def _store(self, name: str, data: bytes) -> None:
        fd = self._create(name)
        try:
            self._write(fd, name, data)
        finally:
            os.close(fd)

    def _write(self, fd: int, name: str, data: bytes | memoryview) -> None:
        done = 0
        while done < len(data):
            try:
                done += os.write(fd, data[done:] if done else data)
            except OSError as e:
                call = f"write({self.path + '/' + name!r}, {len(data)} bytes)"
                raise KernelError(call, e.errno or 0, f"after {done} bytes") from e
