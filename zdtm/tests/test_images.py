"""The image format: every kind of image written and read back."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Bug, KernelError
from engine.images import schema as schema_module
from engine.images import wire
from engine.images.files import Images
from engine.images.schema import Schema, set_text, text
from engine.images.table import IMAGES, OWN, by_magic, by_name
from zdtm.tests.samples import ENTRY_KINDS, assert_bad, fill, ids_of, read, sample, write


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture
def images(schema: Schema, tmp_path: Path) -> Iterator[Images]:
    found = Images.open(schema, str(tmp_path))
    yield found
    found.close()


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
    expected = b"\x19\x43\x56\x54\x09\x37\x45\x56\4\0\0\0\x08\1\x10\2ab\4\0\0\0\x08\2\x10\0"
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
