"""Between the bytes of an image and its entries: parsing with every check that one file allows, and serialising."""

from __future__ import annotations

from engine.errors import BadImage, Bug
from engine.images.table import COMMON, ONE, OWN, RAW, SERVICE, Image, by_magic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from engine.images.schema import Schema

    # A whole image: bytes, or an mmap of a big one. Slicing must give bytes.
    Buffer = Any
    # A message and the offsets in the image where its payload begins and ends.
    Span = tuple[Any, int, int]

_AGAIN = "dump again or copy the directory whole"
_MANY = 1 << 11  # bytes of entries that are worth a class for all of them

# Optional fields of closed enums. Protobuf takes a value that it does not know for an absent field, which then reads as
# its default: these are looked at. (A required one is noticed by its absence.)
_OPTIONAL_ENUMS = {
    "core_entry": ("thread_info.gpregs.mode", "tc.old_seccomp_mode", "thread_core.seccomp_mode"),
    "file_entry": ("isk.shutdown", "usk.shutdown"),
    "inet_sk_entry": ("shutdown",),
    "unix_sk_entry": ("shutdown",),
    "inventory_entry": ("lsmtype",),
    "remap_file_path_entry": ("remap_type",),
}

# How many raw bytes follow an entry, by the table's payload column.
_SIZES: dict[str, Callable[[Any], int]] = {
    "bytes": lambda entry: int(entry.bytes),
    "length": lambda entry: int(entry.length),
    "queues": lambda entry: int(entry.inq_len) + int(entry.outq_len),
    "map": lambda entry: int(entry.keys_bytes) + int(entry.values_bytes),
    "shm": lambda entry: 0 if entry.in_pagemaps else (int(entry.size) + 3) & ~3,
    "sem": lambda entry: (int(entry.nsems) * 2 + 7) & ~7,
}


def head(image: Image, version: int = 2) -> bytes:
    """The magic words that the image begins with in this version of the format (1: without head magic)."""
    words = (image.magic,) if image.head == OWN or version == 1 else (image.head, image.magic)
    return b"".join(word.to_bytes(4, "little") for word in words)


def serialize(image: Image, entries: list[Any], payloads: list[bytes] | None = None, version: int = 2) -> bytes:
    """The whole image. `payloads` go with the entries one by one. Raises Bug where a required field is not set."""
    parts = [head(image, version)]
    for i, entry in enumerate(entries):
        try:
            data = entry.SerializeToString()
        except Exception as e:
            raise Bug(f"{image.kind}: entry {i}: {e}") from e
        parts.append(len(data).to_bytes(4, "little"))
        parts.append(data)
        if payloads:
            parts.append(payloads[i])
    return b"".join(parts)


def serialize_all(image: Image, whole: Any, native: ModuleType | None) -> bytes:
    """The same of all entries in one message; with `native` code at once."""
    if native is None:
        return serialize(image, list(whole.all))
    try:
        data = whole.SerializeToString()
    except Exception as e:
        raise Bug(f"{image.kind}: {e}") from e
    rest: bytes = native.entries(data)
    if data and not rest:
        raise Bug(f"{image.kind}: {len(data)} bytes that are not entries one after another")
    return head(image) + rest


def body(image: Image, data: Buffer, name: str, version: Callable[[], int]) -> int:
    """The offset of the first entry, after the magic words.

    `version` tells the inventory's version of the format; it is asked when the head is missing, as it is in version 1.
    """
    if image.head == RAW:
        raise Bug(f"{name}: {image.kind} is raw data, it has no entries")
    if len(data) < 4:
        raise BadImage(name, 0, f"truncated: {len(data)} bytes are less than a magic number; {_AGAIN}")
    first = int.from_bytes(data[:4], "little")
    if image.head == OWN or (first == image.magic and version() == 1):
        _check_magic(image, first, name, 0)
        return 4
    if first == image.magic:
        raise BadImage(name, 0, "no head magic, as in images of version 1, but the inventory is of version 2")
    if first != image.head:
        _check_magic(image, first, name, 0)
    if len(data) < 8:
        raise BadImage(name, 4, f"truncated: {len(data)} bytes are less than the magic numbers; {_AGAIN}")
    _check_magic(image, int.from_bytes(data[4:8], "little"), name, 4)
    return 8


def _check_magic(image: Image, magic: int, name: str, offset: int) -> None:
    if magic == image.magic:
        return
    other = by_magic(magic)
    known = {COMMON: "the head of an image", SERVICE: "the head of a statistics or cache file"}
    what = f"of {other.kind}" if other else known.get(magic, "of no image")
    wanted = image.head if offset == 0 and image.head != OWN else image.magic
    raise BadImage(name, offset, f"wrong magic {magic:#010x} ({what}), {image.kind} has {wanted:#010x} here")


def parse(schema: Schema, image: Image, data: Buffer, name: str, pos: int) -> list[Span]:
    """The entries from `pos` to the end of the image, each with where its payload is. Raises BadImage."""
    cls = schema.message(image.message)
    if image.payload == "pagemap":
        first, pos = entry(schema, cls, data, pos, name)
        return [
            (first, pos, pos),
            *((e, 0, 0) for e in run(schema, "pagemap_entry", data, pos, name)),
        ]
    if not image.payload:
        return [(e, 0, 0) for e in run(schema, image.message, data, pos, name)]
    spans: list[Span] = []
    end = len(data)
    if image.payload == "ghost":
        ghost, pos = entry(schema, cls, data, pos, name)
        if not ghost.chunks:
            return [(ghost, pos, end)]
        spans.append((ghost, pos, pos))
        cls = schema.message("ghost_chunk_entry")
    while pos < end:
        begin = pos
        message, pos = entry(schema, cls, data, pos, name)
        after = _payload_end(schema, image, message, data, pos, name)
        if after > end:
            raise BadImage(
                name, begin, f"truncated: its payload is {after - pos} bytes, {end - pos} are left; {_AGAIN}"
            )
        spans.append((message, pos, after))
        pos = after
    if image.payload != "ghost":
        check_count(image, len(spans), name, end)
    return spans


def _payload_end(schema: Schema, image: Image, message: Any, data: Buffer, pos: int, name: str) -> int:
    if image.payload == "ghost":
        return pos + int(message.len)
    if image.payload != "msg":
        return pos + _SIZES[image.payload](message)
    cls = schema.message("ipc_msg")
    for _ in range(message.qnum):
        msg, pos = entry(schema, cls, data, pos, name)
        pos += (msg.msize + 7) & ~7
        if pos > len(data):
            raise BadImage(name, len(data), f"truncated: inside the text of a message; {_AGAIN}")
    return pos


def ipc_messages(schema: Schema, payload: bytes, name: str) -> list[tuple[Any, bytes, bytes]]:
    """The messages in the payload of an ipc_msg_entry: (ipc_msg, text, padding)."""
    cls = schema.message("ipc_msg")
    messages, pos = [], 0
    while pos < len(payload):
        msg, pos = entry(schema, cls, payload, pos, name)
        after, pos = pos, pos + ((msg.msize + 7) & ~7)
        messages.append((msg, payload[after : after + msg.msize], payload[after + msg.msize : pos]))
    return messages


def pack_ipc_messages(messages: list[tuple[Any, bytes, bytes]]) -> bytes:
    """The payload of an ipc_msg_entry: the reverse of `ipc_messages`; padding that is b"" is made up."""
    parts = []
    for msg, content, padding in messages:
        data = msg.SerializeToString()
        parts += [len(data).to_bytes(4, "little"), data, content, padding or bytes(-len(content) % 8)]
    return b"".join(parts)


def payload_size(image: Image, message: Any) -> int | None:
    """How many raw bytes the entry says follow it; None where the entry alone does not tell."""
    if image.payload == "ghost":
        return int(message.len) if message.DESCRIPTOR.name == "ghost_chunk_entry" else None
    size = _SIZES.get(image.payload)
    return size(message) if size else None


def entry(schema: Schema, cls: Any, data: Buffer, pos: int, name: str) -> tuple[Any, int]:
    """The entry at `pos` and the offset after it. Raises BadImage."""
    if pos >= len(data):
        raise BadImage(name, pos, f"truncated: {cls.DESCRIPTOR.name} is missing; {_AGAIN}")
    size = _entry_size(data, pos, len(data), name)
    after = pos + 4 + size
    return _decode(schema, cls, data[pos + 4 : after], _optional_enums(cls), name, pos), after


def _entry_size(data: Buffer, pos: int, end: int, name: str) -> int:
    if end - pos < 4:
        raise BadImage(
            name,
            pos,
            f"truncated: {end - pos} bytes are left, the length of an entry takes 4; {_AGAIN}",
        )
    size = int.from_bytes(data[pos : pos + 4], "little")
    if size > end - pos - 4:
        raise BadImage(
            name,
            pos,
            f"truncated or overwritten: the entry says {size} bytes, {end - pos - 4} are left; {_AGAIN}",
        )
    return size


def run(schema: Schema, message: str, data: Buffer, pos: int, name: str, native: ModuleType | None = None) -> list[Any]:
    """All entries of one type from `pos` to the end; `native` (engine/kernel/pagemap.py) helps. Raises BadImage."""
    cls = schema.message(message)
    enums = _optional_enums(cls)
    end = len(data)
    if native and end - pos > _MANY:
        entries = _all(schema, message, native.fields(data, pos))
        if entries and all(_unknown(schema, entry, enums) is None for entry in entries):
            return entries
    entries = []
    while pos < end:
        after = pos + 4 + int.from_bytes(data[pos : pos + 4], "little")
        if after > end or pos + 4 > end:
            _entry_size(data, pos, end, name)  # says why not
        entries.append(_decode(schema, cls, data[pos + 4 : after], enums, name, pos))
        pos = after
    return entries


def _all(schema: Schema, message: str, fields: bytes) -> list[Any]:
    """The entries of a whole image, parsed at once; none where one is not right: they are looked at one by one."""
    try:
        whole = schema.many(message).FromString(fields)
    except schema.decode_error:
        return []
    return list(whole.all) if whole.IsInitialized() else []


def _unknown(schema: Schema, message: Any, enums: list[tuple[str, str]]) -> tuple[str, int] | None:
    """The first optional enum field with a value that protobuf takes for an absent one, and that value."""
    for first, path in enums:
        if first == path or message.HasField(first):
            value = _unknown_value(schema, message, path)
            if value is not None:
                return path, value
    return None


def _optional_enums(cls: Any) -> list[tuple[str, str]]:
    return [(path.partition(".")[0], path) for path in _OPTIONAL_ENUMS.get(cls.DESCRIPTOR.name, ())]


def _decode(schema: Schema, cls: Any, raw: Buffer, enums: list[tuple[str, str]], name: str, pos: int) -> Any:
    """One message; `pos` is where its entry begins in the image."""
    try:
        message = cls.FromString(raw)
    except schema.decode_error as e:
        raise BadImage(name, pos, f"not a {cls.DESCRIPTOR.name}: {e}") from e
    if not message.IsInitialized():
        raise BadImage(name, pos, _incomplete(schema, message))
    if newer := _unknown(schema, message, enums):
        raise BadImage(name, pos, _newer(message, *newer))
    return message


def _incomplete(schema: Schema, message: Any) -> str:
    """Why a message counts as incomplete: the first field that is required and absent, or of unknown value."""
    path = message.FindInitializationErrors()[0]
    value = _unknown_value(schema, message, path)
    if value is not None:
        return _newer(message, path, value)
    return f"{message.DESCRIPTOR.name} lacks the required field {path}: damaged, or of another format; dump again"


def _newer(message: Any, path: str, value: int) -> str:
    return (
        f"{message.DESCRIPTOR.name}: {path} has the value {value}, which this version does not know; "
        "restore with the version that dumped"
    )


def _unknown_value(schema: Schema, message: Any, path: str) -> int | None:
    """The value in the image of an enum field that protobuf takes for absent; `path` like "tc.rlimits[1].cur"."""
    *parents, field = path.split(".")
    for part in parents:
        part, _, index = part.partition("[")
        if index:
            message = getattr(message, part)[int(index[:-1])]
        elif message.HasField(part):
            message = getattr(message, part)
        else:
            return None
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.enum_type is None or message.HasField(field):
        return None
    for number, wire_type, value in schema.unknown(message):
        if number == descriptor.number and wire_type == 0:
            return int(value)
    return None


def check_count(image: Image, count: int, name: str, size: int) -> None:
    """Raise BadImage unless an image that holds one entry does hold one; `size` is the image's in bytes."""
    if image.count == ONE and count != 1:
        what = "is missing" if count == 0 else f"should be alone, {count} are here"
        raise BadImage(name, size, f"{image.message} {what}; {_AGAIN}")
