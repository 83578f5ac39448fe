"""The image format: every kind written and read back, and every way in which an image can be bad."""

import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadImage, Bug, KernelError
from engine.images import schema as schema_module
from engine.images import wire
from engine.images.files import Images
from engine.images.schema import Schema, set_text, text
from engine.images.table import COMMON, IMAGES, MANY, ONE, OWN, RAW, Image, by_magic, by_name
from engine.images.validate import validate_all

ENTRY_KINDS = [kind for kind, image in IMAGES.items() if image.head != RAW]
PLAIN_KINDS = [kind for kind in ENTRY_KINDS if not IMAGES[kind].payload]


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture
def images(schema: Schema, tmp_path: Path) -> Iterator[Images]:
    found = Images.open(schema, str(tmp_path))
    yield found
    found.close()


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
    for field, value in {"bytes": 3, "length": 4, "inq_len": 2, "outq_len": 3, "size": 6, "nsems": 3}.items():
        if field in entry.DESCRIPTOR.fields_by_name:
            setattr(entry, field, value)
    if image.payload == "map":
        entry.keys_bytes, entry.values_bytes = 2, 5
    if image.payload == "shm":
        entry.in_pagemaps = False
    size = wire.payload_size(image, entry)
    assert size
    payload = (
        bytes(range(1, 1 + size))
        if image.payload not in ("sem", "shm")
        else bytes([1, 2, 3, 4, 5, 6]) + bytes(size - 6)
    )
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


# The schema


def test_every_kind_has_its_message(schema: Schema) -> None:
    for kind in ENTRY_KINDS:
        assert schema.message(IMAGES[kind].message).DESCRIPTOR.name == IMAGES[kind].message
    assert schema.message("criu_req")(type=schema.enum("criu_req_type")["DUMP"]).SerializeToString() == b"\x08\x01"
    assert schema.enum("core_entry.march")["RISCV64"] == 8
    assert schema.enum_name("fd_types", 65534) == "CTL_TTY"
    assert schema.enum_name("fd_types", 99) == "99"


def test_unknown_names_are_bugs(schema: Schema, tmp_path: Path) -> None:
    for call in (schema.message, schema.enum):
        with pytest.raises(Bug, match="no_such_thing"):
            call("no_such_thing")
    with pytest.raises(Bug, match="build the package"):
        Schema(str(tmp_path / "absent"))
    (tmp_path / "cut").write_bytes(Path(schema_module.descriptor_path()).read_bytes()[:-1])
    with pytest.raises(Bug, match="build the package"):
        Schema(str(tmp_path / "cut"))


def test_start_up_stays_small() -> None:
    """Reading images loads no part of Python that costs milliseconds, and little of protobuf."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import engine.images.files, engine.images.validate, engine.images.schema as s\n"
        "s.Schema().message('core_entry')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    slow = {"re", "typing", "enum", "dataclasses", "argparse", "pathlib", "json", "datetime", "inspect", "functools"}
    assert not slow & set(out)
    assert not [name for name in out if name.startswith("google.protobuf.") and "_pb2" in name]
    assert len(out) < 30, out


def test_public_protobuf_interface_gives_the_same(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where protobuf's C extension is another than expected, the documented way is taken."""
    monkeypatch.setattr(schema_module, "_fast_protobuf", lambda: None)
    slow = Schema()
    for name in ("core_entry", "file_entry", "inventory_entry"):
        data = fill(schema.message(name)()).SerializeToString()
        assert slow.message(name).FromString(data).SerializeToString() == data
    assert slow.message("core_entry") is not schema.message("core_entry")
    cls = slow.message("remap_file_path_entry")
    assert slow.unknown(cls.FromString(b"\x08\1\x10\2\x18\x63")) == [(3, 0, 99)]


def test_optional_enums_are_all_looked_at(schema: Schema) -> None:
    """The reader's list of optional fields of enums is what the schema says, of every message that an image has."""

    def paths(descriptor: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
        if descriptor.name in above:
            return
        for field in descriptor.fields:
            if field.type == field.TYPE_MESSAGE:
                nested = paths(field.message_type, (*above, descriptor.name))
                yield from (f"{field.name}{'[]' if field.is_repeated else ''}.{path}" for path in nested)
            elif field.type == field.TYPE_ENUM and not field.is_required:
                yield field.name

    messages = {IMAGES[kind].message for kind in ENTRY_KINDS} | {"pagemap_entry", "ghost_chunk_entry", "ipc_msg"}
    found = {name: tuple(sorted(paths(schema.message(name).DESCRIPTOR))) for name in messages}
    listed = {name: tuple(sorted(value)) for name, value in wire._OPTIONAL_ENUMS.items()}
    assert {name: value for name, value in found.items() if value} == listed


def test_paths_that_are_not_utf8(schema: Schema) -> None:
    entry = schema.message("fh_entry")(bytes=1, type=2)
    set_text(entry, "path", os.fsdecode(b"/caf\xe9" + b"x" * 200))
    again = schema.message("fh_entry").FromString(entry.SerializeToString())
    assert os.fsencode(text(again.path)) == b"/caf\xe9" + b"x" * 200
    set_text(entry, "path", "/plain")
    assert text(entry.path) == entry.path == "/plain"


# The table


def test_names_lead_back_to_their_kinds() -> None:
    same_name = {"PAGES_OLD": "PAGES"}
    for kind, image in IMAGES.items():
        ids = ids_of(image)
        found = by_name(image.name(*ids))
        assert found is not None
        assert (found[0].kind, found[1]) == (same_name.get(kind, kind), ids)
    assert by_name("ghost-file-ff.img") == (IMAGES["GHOST_FILE"], (255,))
    for name in (
        "dump.log",
        "core-.img",
        "core-x.img",
        "core-007.img",
        "core-1.img~",
        "core--1.img",
        "stats-other",
        "",
    ):
        assert by_name(name) is None, name


def test_magic_numbers_lead_back_to_their_kinds() -> None:
    same_magic = {"SHMEM_PAGEMAP": "PAGEMAP", "BINFMT_MISC": "BINFMT_MISC_OLD", "PSIGNAL": "SIGNAL"}
    for kind in ENTRY_KINDS:
        found = by_magic(IMAGES[kind].magic)
        assert found is not None and found.kind == same_magic.get(kind, kind)
    assert by_magic(0) is None


# Writing and reading


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_every_kind_is_read_as_written(images: Images, schema: Schema, kind: str) -> None:
    entries = sample(schema, kind)
    name = write(images, kind, entries)
    data = Path(images.path, name).read_bytes()
    image = IMAGES[kind]
    words = (image.magic,) if image.head == OWN else (image.head, image.magic)
    head = b"".join(word.to_bytes(4, "little") for word in words)
    first = entries[0][0].SerializeToString()
    assert data.startswith(head + len(first).to_bytes(4, "little") + first)
    assert read(images, kind) == entries
    assert images.created == images.names() == [name]
    (images.read_spans if image.payload else images.keep)(kind, *ids_of(image))
    images.remove_created()
    assert not images.names() and not images.created


def test_layout_of_a_payload(images: Images, schema: Schema) -> None:
    entry = schema.message("pipe_data_entry")
    images.write_payload("PIPES_DATA", (), [(entry(pipe_id=1, bytes=2), b"ab"), (entry(pipe_id=2, bytes=0), b"")])
    expected = b"\x19\x43\x56\x54\x55\x37\x45\x56\4\0\0\0\x08\1\x10\2ab\4\0\0\0\x08\2\x10\0"
    assert Path(images.path, "pipes-data.img").read_bytes() == expected
    assert [(begin, length) for _, begin, length in images.read_spans("PIPES_DATA")] == [(16, 2), (26, 0)]
    with pytest.raises(Bug, match="the entry says 2 bytes, the payload has 3"):
        images.write_payload("PIPES_DATA", (), [(entry(pipe_id=1, bytes=2), b"abc")])


def test_payload_of_megabytes(images: Images, schema: Schema) -> None:
    """Bigger images are mapped; what comes out is the same."""
    content = os.urandom(1 << 16) * 17
    ghost = schema.message("ghost_file_entry")(uid=0, gid=0, mode=0o100600)
    fd = images.begin("GHOST_FILE", (1,), [ghost])
    os.write(fd, content)
    os.close(fd)
    assert images.read_payload("GHOST_FILE", 1) == [(ghost, content)]
    assert images.size("GHOST_FILE", 1) - images.read_spans("GHOST_FILE", 1)[0][1] == len(content)


def test_raw_images(images: Images) -> None:
    fd = images.create_raw("PAGES", 1)
    os.write(fd, b"page")
    os.close(fd)
    fd = images.open_raw("PAGES", 1)
    assert os.read(fd, 9) == b"page"
    os.close(fd)
    assert images.exists("PAGES", 1) and not images.exists("PAGES", 2)
    with pytest.raises(Bug, match="raw data"):
        images.read("PAGES", 1)


def test_images_without_head_are_of_version_1(images: Images, schema: Schema) -> None:
    entry = schema.message("fs_entry")(cwd_id=1, root_id=2)
    images.write("FS", (1,), [entry])
    path = Path(images.path, "fs-1.img")
    path.write_bytes(path.read_bytes()[4:])
    images.write("INVENTORY", (), [schema.message("inventory_entry")(img_version=1)])
    assert images.read("FS", 1) == [entry]
    other = Images(schema, images.dirfd, images.path)
    other.write("INVENTORY", (), [schema.message("inventory_entry")(img_version=2)])
    assert_bad(lambda: other.read("FS", 1), "fs-1.img", 0, "no head magic")


def test_mode_follows_the_umask_and_old_contents_go(images: Images, schema: Schema) -> None:
    Path(images.path, "fs-1.img").write_bytes(b"x" * 1000)
    os.unlink(Path(images.path, "fs-1.img"))
    before = os.umask(0o027)
    try:
        images.write("FS", (1,), [schema.message("fs_entry")(cwd_id=1, root_id=2, umask=3)])
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(Path(images.path, "fs-1.img")).st_mode) == 0o640
    images.write("FS", (1,), [schema.message("fs_entry")(cwd_id=1, root_id=2)])
    assert images.size("FS", 1) == 16


def test_no_space_names_the_file(images: Images, schema: Schema) -> None:
    os.symlink("/dev/full", Path(images.path, "fs-1.img"))
    with pytest.raises(KernelError, match=r"fs-1\.img.*No space left") as caught:
        images.write("FS", (1,), [schema.message("fs_entry")(cwd_id=1, root_id=2)])
    assert images.path in caught.value.call
    with pytest.raises(KernelError, match=r"fs-1\.img"):
        os.close(images.begin("FS", (1,), [schema.message("fs_entry")(cwd_id=1, root_id=2)]))


def test_directory_that_is_none(schema: Schema, tmp_path: Path) -> None:
    for path in (tmp_path / "absent", Path("/dev/null")):
        with pytest.raises(KernelError, match=str(path)):
            Images.open(schema, str(path))


def test_incomplete_entries_are_not_written(images: Images, schema: Schema) -> None:
    with pytest.raises(Bug, match=r"FS: entry 0.*root_id"):
        images.write("FS", (1,), [schema.message("fs_entry")(cwd_id=1)])


# Bad images


def assert_bad(call: Callable[[], object], name: str, offset: int | None, what: str) -> None:
    with pytest.raises(BadImage) as caught:
        call()
    assert caught.value.name == name
    assert what in str(caught.value)
    assert offset is None or caught.value.offset == offset, str(caught.value)


@pytest.mark.parametrize(
    "kind", ["INVENTORY", "FS", "FDINFO", "PAGEMAP", "PIPES_DATA", "TCP_STREAM", "IPCNS_MSG", "STATS"]
)
def test_truncated_at_every_byte(images: Images, schema: Schema, kind: str) -> None:
    """Cut anywhere: a BadImage that points into the file; a list cut between two entries is a shorter list."""
    entries = sample(schema, kind)
    path = Path(images.path, write(images, kind, entries))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            got = read(images, kind)
        except BadImage as e:
            assert e.name == path.name and 0 <= e.offset <= size
            assert "truncated" in str(e) or "is missing" in str(e)
        else:
            assert IMAGES[kind].count == MANY and got == entries[: len(got)] and len(got) < len(entries)
            assert path.read_bytes() == wire.serialize(IMAGES[kind], [e for e, _ in got], [p for _, p in got])


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_trailing_garbage(images: Images, schema: Schema, kind: str) -> None:
    """After the last entry comes nothing. (What follows a ghost file's entry is its contents.)"""
    path = Path(images.path, write(images, kind, sample(schema, kind)))
    whole = path.read_bytes()
    for garbage in (b"\0", b"\0\0\0\0", b"\xff" * 4, b"garbage!" * 3):
        path.write_bytes(whole + garbage)
        with pytest.raises(BadImage) as caught:
            read(images, kind)
        assert caught.value.name == path.name and caught.value.offset >= len(whole)


@pytest.mark.parametrize("kind", PLAIN_KINDS)
def test_one_entry_means_one(images: Images, schema: Schema, kind: str) -> None:
    image = IMAGES[kind]
    entries = [sample(schema, kind)[0][0]]
    for count in (0, 2):
        images.write(kind, ids_of(image), entries * count)
        if image.count == ONE:
            assert_bad(lambda: images.read(kind, *ids_of(image)), image.name(*ids_of(image)), None, image.message)
        else:
            assert len(images.read(kind, *ids_of(image))) == count
        assert_bad(lambda: images.read_one(kind, *ids_of(image)), image.name(*ids_of(image)), None, image.message)


def put(images: Images, name: str, *parts: bytes | int) -> None:
    """Write a file of words and bytes."""
    data = b"".join(part if isinstance(part, bytes) else part.to_bytes(4, "little") for part in parts)
    Path(images.path, name).write_bytes(data)


def test_wrong_magic(images: Images) -> None:
    fs, core = IMAGES["FS"].magic, IMAGES["CORE"].magic
    put(images, "fs-1.img", COMMON, core, 4, b"\x08\1\x10\2")
    assert_bad(lambda: images.read("FS", 1), "fs-1.img", 4, "(of CORE), FS has 0x51403912 here")
    put(images, "fs-1.img", 0x12345678, fs, 4, b"\x08\1\x10\2")
    assert_bad(lambda: images.read("FS", 1), "fs-1.img", 0, "wrong magic 0x12345678 (of no image)")
    put(images, "stats-dump", COMMON, IMAGES["STATS"].magic, 0)
    assert_bad(lambda: images.read("STATS", "dump"), "stats-dump", 0, "the head of an image")
    put(images, "inventory.img", COMMON, IMAGES["INVENTORY"].magic, 2, b"\x08\2")
    assert_bad(lambda: images.read("INVENTORY"), "inventory.img", 0, "INVENTORY has 0x58313116")
    put(images, "fs-1.img")
    assert_bad(lambda: images.read("FS", 1), "fs-1.img", 0, "truncated: 0 bytes")


def test_versions(images: Images, schema: Schema) -> None:
    for version in (0, 3, 1 << 31):
        images.write("INVENTORY", (), [schema.message("inventory_entry")(img_version=version)])
        assert_bad(images.version, "inventory.img", 4, f"images of version {version}")


def test_missing_file(images: Images) -> None:
    for call in (lambda: images.read("CORE", 7), lambda: images.open_raw("CORE", 7), lambda: images.size("CORE", 7)):
        assert_bad(call, "core-7.img", 0, "missing from " + images.path)


def test_missing_required_field(images: Images) -> None:
    put(images, "pstree.img", COMMON, IMAGES["PSTREE"].magic, 8, b"\x08\1\x10\0\x18\1\x20\1", 6, b"\x08\1\x10\0\x20\1")
    assert_bad(lambda: images.read("PSTREE"), "pstree.img", 20, "pstree_entry lacks the required field pgid")
    put(images, "timens-0.img", COMMON, IMAGES["TIMENS"].magic, 8, b"\x0a\x02\x08\x01\x12\x02\x08\x01")
    assert_bad(lambda: images.read("TIMENS", 0), "timens-0.img", 8, "lacks the required field monotonic.tv_nsec")


def test_unknown_enum_values(images: Images, schema: Schema) -> None:
    """Of required, optional and nested fields: the field and the value are named."""
    put(images, "fdinfo-2.img", COMMON, IMAGES["FDINFO"].magic, 8, b"\x08\1\x10\0\x18\x63\x20\3")
    assert_bad(lambda: images.read("FDINFO", 2), "fdinfo-2.img", 8, "fdinfo_entry: type has the value 99")
    put(images, "remap-fpath.img", COMMON, IMAGES["REMAP_FPATH"].magic, 6, b"\x08\1\x10\2\x18\x63")
    assert_bad(lambda: images.read("REMAP_FPATH"), "remap-fpath.img", 8, "remap_type has the value 99")
    core = schema.message("core_entry")(mtype=1)
    fill(core.tc).ClearField("old_seccomp_mode")
    core.tc.MergeFromString(b"\x58\x2a")
    images.write("CORE", (1,), [core])
    assert_bad(lambda: images.read("CORE", 1), "core-1.img", 8, "tc.old_seccomp_mode has the value 42")
    put(images, "netdev-1.img", COMMON, IMAGES["NETDEV"].magic)
    device = fill(schema.message("net_device_entry")())
    device.conf4[1].ClearField("type")
    device.conf4[1].MergeFromString(b"\x08\x09")
    data = device.SerializePartialToString()
    put(images, "netdev-1.img", COMMON, IMAGES["NETDEV"].magic, len(data), data)
    assert_bad(lambda: images.read("NETDEV", 1), "netdev-1.img", 8, "conf4[1].type has the value 9")


def test_fields_of_the_future_are_kept(images: Images) -> None:
    put(images, "fs-1.img", COMMON, IMAGES["FS"].magic, 7, b"\x08\1\x10\2\xf8\x07\x05")
    entry = images.read_one("FS", 1)
    assert entry.SerializeToString() == b"\x08\1\x10\2\xf8\x07\x05"


def test_no_protobuf(images: Images) -> None:
    put(images, "fs-1.img", COMMON, IMAGES["FS"].magic, 4, b"\xff\xff\xff\xff")
    assert_bad(lambda: images.read("FS", 1), "fs-1.img", 8, "not a fs_entry")


def test_huge_lengths_take_no_memory(images: Images, schema: Schema) -> None:
    huge = 0xFFFFFFFF
    put(images, "pstree.img", COMMON, IMAGES["PSTREE"].magic, huge)
    data = schema.message("pipe_data_entry")(pipe_id=1, bytes=huge).SerializeToString()
    put(images, "pipes-data.img", COMMON, IMAGES["PIPES_DATA"].magic, len(data), data)
    chunk = schema.message("ghost_chunk_entry")(len=(1 << 64) - 1, off=0).SerializeToString()
    ghost = schema.message("ghost_file_entry")(uid=0, gid=0, mode=0, chunks=True).SerializeToString()
    put(images, "ghost-file-1.img", COMMON, IMAGES["GHOST_FILE"].magic, len(ghost), ghost, len(chunk), chunk)
    tracemalloc.start()
    try:
        assert_bad(lambda: images.read("PSTREE"), "pstree.img", 8, "the entry says 4294967295 bytes, 0 are left")
        assert_bad(lambda: images.read_payload("PIPES_DATA"), "pipes-data.img", 8, "its payload is 4294967295 bytes")
        assert_bad(lambda: images.read_payload("GHOST_FILE", 1), "ghost-file-1.img", None, "18446744073709551615 bytes")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# The directory as a whole


@pytest.fixture
def directory(images: Images, schema: Schema) -> Images:
    """The images of one imaginary task that agree with each other."""
    new = schema.message
    core = new("core_entry")(mtype=1)
    images.write("INVENTORY", (), [new("inventory_entry")(img_version=2)])
    images.write("PSTREE", (), [new("pstree_entry")(pid=9, ppid=0, pgid=9, sid=9, threads=[9, 10])])
    images.write("CORE", (9,), [core])
    images.write("CORE", (10,), [core])
    fown = new("fown_entry")(uid=0, euid=0, signum=0, pid_type=0, pid=0)
    reg = new("reg_file_entry")(id=1, flags=0, pos=0, fown=fown, name="/")
    images.write("FILES", (), [new("file_entry")(type=1, id=1, reg=reg)])
    images.write(
        "FDINFO",
        (2,),
        [new("fdinfo_entry")(id=1, flags=0, type=1, fd=0), new("fdinfo_entry")(id=9, flags=0, type=65534, fd=1)],
    )
    entry = new("pagemap_entry")
    entries = [
        entry(vaddr=0x1000, compat_nr_pages=0, nr_pages=2, flags=4),
        entry(vaddr=0x8000, compat_nr_pages=1, flags=4 | 2),
        entry(vaddr=0x9000, compat_nr_pages=1),
        entry(vaddr=0xA000, compat_nr_pages=0, nr_pages=7, flags=1),
        entry(vaddr=0xB0000, compat_nr_pages=7, flags=2),
        entry(vaddr=0xC0000, compat_nr_pages=7, in_parent=True),
    ]
    images.write_pagemap("PAGEMAP", 9, new("pagemap_head")(pages_id=1), entries)
    pages(images, 4 * 4096)
    return images


def pages(images: Images, size: int) -> None:
    fd = images.create_raw("PAGES", 1)
    os.ftruncate(fd, size)
    os.close(fd)


def test_a_good_directory(directory: Images) -> None:
    """It passes, strangers in it do not matter, and what was checked is what later reads get."""
    Path(directory.path, "dump.log").write_text("not an image")
    Path(directory.path, "stats-dump").write_text("damaged, but not of the tree")
    validate_all(directory)
    os.unlink(Path(directory.path, "core-9.img"))
    assert directory.read_one("CORE", 9).mtype == 1
    assert len(directory.read_pagemap("PAGEMAP", 9)[1]) == 6


@pytest.mark.parametrize(("size", "what"), [(4 * 4096 - 1, "truncated"), (5 * 4096, "longer than it should be")])
def test_pages_and_pagemap_disagree(directory: Images, size: int, what: str) -> None:
    pages(directory, size)
    assert_bad(lambda: validate_all(directory), "pages-1.img", min(size, 4 * 4096), what)


def test_pages_are_missing(directory: Images, schema: Schema) -> None:
    os.unlink(Path(directory.path, "pages-1.img"))
    assert_bad(lambda: validate_all(directory), "pages-1.img", 0, "missing")
    entry = schema.message("pagemap_entry")(vaddr=0, compat_nr_pages=9, flags=1)
    directory.write_pagemap("PAGEMAP", 9, schema.message("pagemap_head")(pages_id=1), [entry])
    validate_all(directory)


def test_tree_and_cores_disagree(directory: Images, schema: Schema) -> None:
    os.rename(Path(directory.path, "core-10.img"), Path(directory.path, "core-11.img"))
    assert_bad(lambda: validate_all(directory), "core-10.img", 0, "pstree.img names its thread")
    directory.write("CORE", (10,), [schema.message("core_entry")(mtype=1)])
    assert_bad(lambda: validate_all(directory), "pstree.img", 0, "core-11.img is here")
    directory.write("PSTREE", (), [])
    assert_bad(lambda: validate_all(directory), "pstree.img", 0, "no task in it")


def test_files_and_descriptors_disagree(directory: Images) -> None:
    directory.write("FILES", (), [])
    assert_bad(
        lambda: validate_all(directory), "files.img", 0, "file 0x1 of type 1 is missing, fdinfo-2.img has it as 0"
    )


def test_every_damaged_image_is_found(directory: Images) -> None:
    """A bit flipped in any magic, or the last byte gone, of any image of the directory."""
    for name in directory.names():
        path = Path(directory.path, name)
        whole = path.read_bytes()
        for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1]):
            if name.startswith("pages") and len(damaged) == len(whole):
                continue
            path.write_bytes(damaged)
            with pytest.raises(BadImage) as caught:
                validate_all(Images(directory.schema, directory.dirfd, directory.path))
            assert caught.value.name == name
        path.write_bytes(whole)
    validate_all(directory)


def test_no_inventory(directory: Images) -> None:
    os.unlink(Path(directory.path, "inventory.img"))
    assert_bad(lambda: validate_all(directory), "inventory.img", 0, "missing")
