"""Made-up images of every kind, for the tests of the image format and of crit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadImage
from engine.images import wire
from engine.images.files import Images
from engine.images.schema import Schema
from engine.images.table import IMAGES, MANY, RAW, Image

ENTRY_KINDS = [kind for kind, image in IMAGES.items() if image.head != RAW]
PLAIN_KINDS = [kind for kind in ENTRY_KINDS if not IMAGES[kind].payload]


def fill(message: Any, seed: int = 1, depth: int = 0) -> Any:
    """Set every field of a message to something that depends on `seed`; recursive types five levels deep."""
    for number, field in enumerate(message.DESCRIPTOR.fields, seed):
        repeated = field.is_repeated
        if field.type == field.TYPE_MESSAGE:
            if depth < 5:
                for _ in range(2 if repeated else 1):
                    fill(
                        getattr(message, field.name).add() if repeated else getattr(message, field.name),
                        number,
                        depth + 1,
                    )
            continue
        value: Any
        if field.type == field.TYPE_STRING:
            value = f"text {number}"
        elif field.type == field.TYPE_BYTES:
            value = bytes([number & 255, 0, 255, 61])
        elif field.type == field.TYPE_BOOL:
            value = bool(number & 1)
        elif field.type == field.TYPE_ENUM:
            value = field.enum_type.values[number % len(field.enum_type.values)].number
        elif field.type in (field.TYPE_UINT64, field.TYPE_FIXED64):
            value = (1 << 63) + number
        elif field.type == field.TYPE_UINT32:
            value = (1 << 31) + number
        else:
            value = -number
        if repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)
    return message


def sample(schema: Schema, kind: str, index: int = 0) -> list[tuple[Any, bytes]]:
    """Entries with payload such as an image of this kind may have, all fields set."""
    image = IMAGES[kind]
    entry = fill(schema.message(image.message)(), index + 1)
    if image.payload == "pagemap":
        return [(entry, b""), *((fill(schema.message("pagemap_entry")(), i), b"") for i in range(3))]
    if image.payload == "ghost":
        entry.chunks = True
        chunk = schema.message("ghost_chunk_entry")
        return [(entry, b""), (chunk(len=5, off=0), b"chunk"), (chunk(len=0, off=1 << 40), b"")]
    if image.payload == "msg":
        msg = schema.message("ipc_msg")
        entry.qnum = 2
        return [
            (
                entry,
                wire.pack_ipc_messages([(msg(mtype=1, msize=3), b"abc", b""), (msg(mtype=2, msize=8), b"8" * 8, b"")]),
            )
        ]
    if not image.payload:
        if kind == "INVENTORY":
            entry.img_version = 2
        return [(entry, b""), *([(fill(schema.message(image.message)(), 7), b"")] if image.count == MANY else [])]
    for field, value in {"bytes": 3, "length": 4, "inq_len": 2, "outq_len": 3, "size": 3, "nsems": 3}.items():
        if field in entry.DESCRIPTOR.fields_by_name:
            setattr(entry, field, value)
    if image.payload == "map":
        entry.keys_bytes, entry.values_bytes = 2, 5
    if image.payload == "shm":
        entry.in_pagemaps = False
    size = wire.payload_size(image, entry)
    assert size
    # Padded to 4 and to 8 bytes.
    padded = {"shm": b"\1\2\3\0", "sem": b"\1\2\3\4\5\6\0\0"}
    payload = padded.get(image.payload, bytes(range(1, 1 + size)))
    return [(entry, payload)] * (2 if image.count == MANY else 1)


def ids_of(image: Image) -> tuple[Any, ...]:
    return () if "%" not in image.pattern else ("dump",) if "%s" in image.pattern else (0x2A,)


def write(images: Images, kind: str, entries: list[tuple[Any, bytes]]) -> str:
    """Write an image by the function for its kind; returns the file's name."""
    image = IMAGES[kind]
    ids = ids_of(image)
    if image.payload == "pagemap":
        images.write_pagemap(kind, ids[0], entries[0][0], [entry for entry, _ in entries[1:]])
    elif image.payload:
        images.write_payload(kind, ids, entries)
    else:
        images.write(kind, ids, [entry for entry, _ in entries])
    return images.name(kind, *ids)


def read(images: Images, kind: str) -> list[tuple[Any, bytes]]:
    image = IMAGES[kind]
    if image.payload and image.payload != "pagemap":
        return images.read_payload(kind, *ids_of(image))
    return [(entry, b"") for entry in images.read(kind, *ids_of(image))]


def put(images: Images, name: str, *parts: bytes | int) -> None:
    """Write a file of words and bytes."""
    data = b"".join(part if isinstance(part, bytes) else part.to_bytes(4, "little") for part in parts)
    Path(images.path, name).write_bytes(data)


def assert_bad(call: Callable[[], object], name: str, offset: int | None, what: str) -> None:
    with pytest.raises(BadImage) as caught:
        call()
    assert caught.value.name == name
    assert what in str(caught.value)
    assert offset is None or caught.value.offset == offset, str(caught.value)
