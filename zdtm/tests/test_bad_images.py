"""Every way in which an image, or a directory of images, can be bad: each is a BadImage that says where and why."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import BadImage
from engine.images import wire
from engine.images.files import Images
from engine.images.schema import Schema
from engine.images.table import COMMON, IMAGES, MANY, ONE
from engine.images.validate import validate_all
from engine.kernel import pagemap
from zdtm.tests.samples import ENTRY_KINDS, PLAIN_KINDS, assert_bad, fill, ids_of, put, read, sample, write

# of a file_entry: its isk (field 4), and of that the shutdown (19)
UNKNOWN_SHUTDOWN = b"\x22\x03\x98\x01\x63"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture
def images(schema: Schema, tmp_path: Path) -> Iterator[Images]:
    found = Images.open(schema, str(tmp_path))
    yield found
    found.close()


# One image


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


@pytest.mark.parametrize("kind", ["FILES", "FDINFO", "REMAP_FPATH"])
def test_many_entries_are_read_at_once(images: Images, schema: Schema, kind: str) -> None:
    """With native code as without: the same entries, and the same said of one that is not right."""
    native = Images.open(schema, images.path, pagemap)
    entries = [sample(schema, kind, i)[0] for i in range(300)]
    path = Path(images.path, write(images, kind, entries))
    whole = path.read_bytes()
    assert read(native, kind) == read(images, kind) == entries
    at, bad = len(whole) // 2, []
    unknown = sample(schema, kind)[0][0]
    if kind == "FILES":
        unknown.isk.ClearField("shutdown")
    for raw in (b"\x08", b"", unknown.SerializeToString() + UNKNOWN_SHUTDOWN, b"\xff" * 9):
        bad.append(whole + len(raw).to_bytes(4, "little") + raw + whole[8:])
    bad += [whole[:at], whole[:-1], whole + b"\0\0", whole + b"\xff" * 4, whole + (1 << 21).to_bytes(4, "little")]
    for data in bad:
        path.write_bytes(data)
        said = []
        for its in (images, native):
            try:
                said.append(str(read(its, kind)))
            except BadImage as e:
                said.append(f"{e.name} {e.offset} {e}")
        assert said[0] == said[1]
        assert kind != "FILES" or said[0].startswith(path.name), said[0][:200]
    native.close()


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
