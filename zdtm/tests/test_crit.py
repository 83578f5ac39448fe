"""crit: JSON and back without a loss, the shapes of the public tool, and what it says to wrong input."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.images import crit_names
from engine.images.crit import main
from engine.images.crit_json import BadInput, Codec
from engine.images.files import Images
from engine.images.schema import Schema, set_text
from engine.images.table import IMAGES
from zdtm.tests.samples import ENTRY_KINDS, fill, sample, write

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture(scope="module")
def codec(schema: Schema) -> Codec:
    return Codec(schema, False)


@pytest.fixture(scope="module")
def pretty(schema: Schema) -> Codec:
    return Codec(schema, True)


@pytest.fixture(name="images")
def opened_images(schema: Schema, tmp_path: Path) -> Iterator[Images]:
    found = Images.open(schema, str(tmp_path))
    yield found
    found.close()


def contents(images: Images, name: str) -> bytes:
    return Path(images.path, name).read_bytes()


def through_json(codec: Codec, data: bytes) -> bytes:
    return codec.image_from_json(json.loads(json.dumps(codec.image_to_json(data, "sample"))))


# Nothing is lost


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_every_kind_survives(images: Images, schema: Schema, codec: Codec, pretty: Codec, kind: str) -> None:
    data = contents(images, write(images, kind, sample(schema, kind)))
    assert through_json(codec, data) == data
    assert through_json(pretty, data) == data
    empty = codec.image_from_json({"magic": kind, "entries": []}) if not IMAGES[kind].payload else b""
    assert data.startswith(empty)


def test_ghost_file_with_plain_contents(images: Images, schema: Schema, codec: Codec) -> None:
    entry = schema.message("ghost_file_entry")(uid=0, gid=0, mode=0o100600)
    for content in (b"", b"contents"):
        images.write_payload("GHOST_FILE", (1,), [(entry, content)])
        data = contents(images, "ghost-file-1.img")
        assert through_json(codec, data) == data


def test_images_without_head_survive(codec: Codec, images: Images, schema: Schema) -> None:
    data = contents(images, write(images, "PSTREE", sample(schema, "PSTREE")))[4:]
    assert codec.image_to_json(data, "old")["img_version"] == 1
    assert through_json(codec, data) == data


def test_unknown_fields_survive(images: Images, schema: Schema, codec: Codec) -> None:
    """Of every wire type, also in nested messages; groups, which nobody writes, are refused."""
    core = fill(schema.message("core_entry")())
    core.MergeFromString(b"\xf8\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    core.tc.MergeFromString(b"\xfa\x07\x03abc\xf9\x0712345678\xfd\x071234")
    images.write("CORE", (1,), [core])
    data = contents(images, "core-1.img")
    shown = codec.image_to_json(data, "core-1.img")["entries"][0]
    assert shown["unknown"] == "f807ffffffffffffffffff01"
    assert shown["tc"]["unknown"] == b"\xfa\x07\x03abc\xf9\x0712345678\xfd\x071234".hex()
    assert through_json(codec, data) == data
    core.MergeFromString(b"\xfb\x07\xfc\x07")
    images.write("CORE", (1,), [core])
    with pytest.raises(BadInput, match="unknown field 127 is a group"):
        codec.image_to_json(contents(images, "core-1.img"), "core-1.img")


def test_odd_padding_survives(images: Images, schema: Schema, codec: Codec) -> None:
    """Padding is zeros; where it is not, it is shown and kept."""
    sem, shm, queue = (sample(schema, kind)[0][0] for kind in ("IPCNS_SEM", "IPCNS_SHM", "IPCNS_MSG"))
    text = schema.message("ipc_msg")(mtype=1, msize=3).SerializeToString()
    queue.qnum = 1
    for kind, entry, payload in (
        ("IPCNS_SEM", sem, b"\1\0\2\0\3\0xy"),
        ("IPCNS_SHM", shm, b"123x"),
        ("IPCNS_MSG", queue, len(text).to_bytes(4, "little") + text + b"abcGARBA"),
    ):
        images.write_payload(kind, (1,), [(entry, payload)])
        data = contents(images, images.name(kind, 1))
        assert b"padding" in json.dumps(codec.image_to_json(data, kind)).encode()
        assert through_json(codec, data) == data


def test_strings_that_are_not_utf8_survive(images: Images, schema: Schema, codec: Codec) -> None:
    entry = schema.message("reg_file_entry")(id=1, flags=0, pos=0)
    fill(entry.fown)
    set_text(entry, "name", b"/caf\xe9")
    images.write("REG_FILES", (), [entry])
    data = contents(images, "reg-files.img")
    assert codec.image_to_json(data, "reg-files.img")["entries"][0]["name"] == "/caf\udce9"
    assert through_json(codec, data) == data


def test_keys_of_ours_are_no_fields(schema: Schema) -> None:
    for kind in ENTRY_KINDS:
        fields = schema.message(IMAGES[kind].message).DESCRIPTOR.fields_by_name
        assert not {"extra", "padding", "unknown"} & set(fields)


# The shapes


def shown(codec: Codec, images: Images, kind: str, *entries: tuple[Any, bytes]) -> list[dict[str, Any]]:
    document = codec.image_to_json(contents(images, write(images, kind, list(entries))), kind)
    assert document["magic"] == {"SHMEM_PAGEMAP": "PAGEMAP"}.get(kind, kind)
    found: list[dict[str, Any]] = document["entries"]
    return found


def test_shape_of_pagemap(images: Images, schema: Schema, codec: Codec, pretty: Codec) -> None:
    head, entry = schema.message("pagemap_head")(pages_id=1), schema.message("pagemap_entry")
    run = entry(vaddr=0x1000, compat_nr_pages=0, flags=0xF6, nr_pages=3)
    old = entry(vaddr=0, compat_nr_pages=1, in_parent=True)
    assert shown(pretty, images, "SHMEM_PAGEMAP", (head, b""), (run, b""), (old, b"")) == [
        {"pages_id": 1},
        {"vaddr": "0x1000", "compat_nr_pages": 0, "flags": "PE_LAZY | PE_PRESENT | 0xf0", "nr_pages": 3},
        {"vaddr": "0x0", "compat_nr_pages": 1, "in_parent": True},
    ]
    plain = {"vaddr": 4096, "compat_nr_pages": 0, "flags": 0xF6, "nr_pages": 3}
    assert shown(codec, images, "PAGEMAP", (head, b""), (run, b""))[1] == plain


def test_shape_of_payloads(images: Images, schema: Schema, codec: Codec) -> None:
    def extra(kind: str) -> Any:
        return shown(codec, images, kind, *sample(schema, kind))[0]["extra"]

    assert extra("PIPES_DATA") == "AQID\n"
    assert extra("TCP_STREAM") == {"inq": "AQI=\n", "outq": "AwQF\n"}
    assert extra("IPCNS_SEM") == [0x201, 0x403, 0x605]
    assert extra("IPCNS_MSG") == [{"mtype": 1, "msize": 3}, "YWJj\n", {"mtype": 2, "msize": 8}, "ODg4ODg4ODg=\n"]
    ghost = shown(codec, images, "GHOST_FILE", *sample(schema, "GHOST_FILE"))
    assert "extra" not in ghost[0]
    assert ghost[1:] == [{"len": 5, "off": 0, "extra": "Y2h1bms=\n"}, {"len": 0, "off": 1 << 40, "extra": ""}]


def test_shape_of_numbers_with_a_meaning(images: Images, schema: Schema, codec: Codec, pretty: Codec) -> None:
    new = schema.message
    entry = new("inet_sk_entry")(id=1, ino=2, family=2, type=1, proto=6, state=10, src_port=22, dst_port=0, flags=2)
    entry.backlog = 1
    entry.src_addr.append(0x0100007F)
    entry.dst_addr.extend([0, 0, 0, 1 << 24])
    fill(entry.fown)
    fill(entry.opts)
    sock = shown(pretty, images, "INETSK", (entry, b""))[0]
    expected = {"family": "INET", "type": "STREAM", "proto": "TCP", "state": "LISTEN", "flags": "0x2"}
    assert {key: sock[key] for key in expected} == expected
    assert (sock["src_addr"], sock["dst_addr"]) == (["127.0.0.1"], ["::1"])
    entry.type, entry.shutdown = 99, 3
    assert shown(pretty, images, "INETSK", (entry, b""))[0]["type"] == 99
    assert shown(codec, images, "INETSK", (entry, b""))[0]["shutdown"] == "BOTH"

    ghost = new("ghost_file_entry")(uid=0, gid=0, mode=0, dev=254 << 20 | 1, rdev=0x501, chunks=True)
    sizes = shown(pretty, images, "GHOST_FILE", (ghost, b""))[0]
    assert (sizes["dev"], sizes["rdev"]) == ("254:1", "5:1")

    unix = fill(new("unix_sk_entry")())
    unix.name = b"\0abstract=\xff"
    assert shown(codec, images, "UNIXSK", (unix, b""))[0]["name"] == "=00abstract=3D=FF"

    core = new("core_entry")(mtype=1)
    fill(core.thread_info).gpregs.r15 = 255
    core.thread_info.gpregs.mode = 1
    regs = shown(pretty, images, "CORE", (core, b""))[0]["thread_info"]["gpregs"]
    assert (regs["r15"], regs["mode"]) == ("0xff", "NATIVE")


def test_task_states_are_not_mixed_up() -> None:
    """The public tool calls a stopped task "Zombie" and the other way round: both spellings mean what was meant."""
    for state in (1, 2, 3, 6, 77):
        name = crit_names.dict_text("gen", "task_state", state)
        assert crit_names.dict_value("gen", "task_state", str(name)) == state
    assert crit_names.dict_value("gen", "task_state", "Zombie") == 3
    assert crit_names.dict_value("gen", "task_state", "Stopped") == 6


@pytest.mark.parametrize("old", [False, True])
def test_device_numbers_and_names_come_back(old: bool) -> None:
    for dev in (0, 0x501, 0xFE00001, 0xFFFFFFFF, 0x12345678):
        assert crit_names.dev_value(crit_names.dev_text(dev, old), old) == dev
    for name in (b"", b"a b", b"=", b"end ", b"\r\n\n", b"x" * 107 + b"\n", bytes(range(256))):
        assert crit_names.unix_name_value(crit_names.unix_name_text(name)) == name


def test_a_changed_value_is_encoded(images: Images, schema: Schema, pretty: Codec) -> None:
    """What people use it for: decode, edit, encode. Symbolic names and numbers are both understood."""
    document = pretty.image_to_json(contents(images, write(images, "CORE", sample(schema, "CORE"))), "core")
    tc = document["entries"][0]["tc"]
    tc.update(task_state="STOPPED", comm="other", blk_sigset="0x10", old_seccomp_mode=2, exit_code="7")
    del document["entries"][0]["thread_info"]
    Path(images.path, "core-1.img").write_bytes(pretty.image_from_json(document))
    core = images.read_one("CORE", 1)
    assert (core.tc.task_state, core.tc.comm, core.tc.blk_sigset, core.tc.old_seccomp_mode) == (3, "other", 16, 2)
    assert core.tc.exit_code == 7 and not core.HasField("thread_info")


# Wrong input

FS = {"cwd_id": 1, "root_id": 2}
PIPE = {"pipe_id": 1, "bytes": 2}


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([], 'an object of "magic" and "entries"'),
        ({"magic": "FS"}, 'an object of "magic" and "entries"'),
        ({"magic": "NOPE", "entries": []}, "magic: 'NOPE' is no kind of image"),
        ({"magic": "PAGES", "entries": []}, "magic: 'PAGES' is no kind of image"),
        ({"magic": "FS", "entries": [FS], "more": 1}, "more: not understood"),
        ({"magic": "FS", "entries": [FS], "img_version": 3}, "img_version: not understood"),
        ({"magic": "FS", "entries": [5]}, "entries[0]: an object is expected"),
        ({"magic": "FS", "entries": [{**FS, "cwd": 1}]}, "entries[0].cwd: fs_entry has no such field"),
        ({"magic": "FS", "entries": [{"cwd_id": 1}]}, "entries[0]: fs_entry lacks the required field root_id"),
        ({"magic": "FS", "entries": [{**FS, "umask": -1}]}, "entries[0].umask: "),
        ({"magic": "FS", "entries": [{**FS, "umask": "x"}]}, "entries[0].umask: invalid literal"),
        ({"magic": "FS", "entries": [{**FS, "umask": True}]}, "entries[0].umask: a number is expected"),
        ({"magic": "FS", "entries": [{**FS, "umask": None}]}, "entries[0].umask: a number is expected"),
        ({"magic": "FS", "entries": [{**FS, "unknown": "zz"}]}, "entries[0].unknown: "),
        ({"magic": "FS", "entries": [{**FS, "unknown": "ff"}]}, "entries[0].unknown: "),
        ({"magic": "FS", "entries": [{**FS, "extra": "AA=="}]}, "entries[0].extra: fs_entry has no payload"),
        ({"magic": "CORE", "entries": [{"mtype": "Z80"}]}, "entries[0].mtype: "),
        ({"magic": "CORE", "entries": [{"mtype": 99}]}, "entries[0].mtype: "),
        ({"magic": "CORE", "entries": [{"mtype": 1, "tc": 5}]}, "entries[0].tc: an object is expected"),
        ({"magic": "CORE", "entries": [{"mtype": 1, "tc": {"comm": 5}}]}, "entries[0].tc.comm: a string is expected"),
        ({"magic": "USERNS", "entries": [{"uid_map": {}}]}, "entries[0].uid_map: a list is expected"),
        ({"magic": "USERNS", "entries": [{"uid_map": [{}]}]}, "entries[0].uid_map[0]: uid_gid_extent lacks"),
        ({"magic": "PIPES_DATA", "entries": [PIPE]}, "entries[0].extra: the entry says 2 bytes, here are 0"),
        ({"magic": "PIPES_DATA", "entries": [{**PIPE, "extra": "?"}]}, "entries[0].extra: "),
        ({"magic": "PIPES_DATA", "entries": [{**PIPE, "extra": []}]}, "entries[0].extra: a string is expected"),
        ({"magic": "PAGEMAP", "entries": []}, "entries: the first one is missing"),
    ],
)
def test_json_that_is_no_image(codec: Codec, document: Any, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        codec.image_from_json(document)
    assert what in str(caught.value)


def test_payloads_that_contradict_their_entries(images: Images, schema: Schema, codec: Codec) -> None:
    damages: tuple[tuple[str, Callable[[dict[str, Any]], object]], ...] = (
        ("IPCNS_SEM", lambda entry: entry["extra"].pop()),
        ("IPCNS_SEM", lambda entry: entry["extra"].__setitem__(0, 1 << 16)),
        ("IPCNS_MSG", lambda entry: entry["extra"].pop()),
        ("IPCNS_MSG", lambda entry: entry["extra"].__setitem__(1, "AA==")),
        ("TCP_STREAM", lambda entry: entry["extra"].pop("inq")),
        ("TCP_STREAM", lambda entry: entry["extra"].update(inq="AA==", outq="AAAAAA==")),
        ("BPFMAP_DATA", lambda entry: entry.update(extra="AA==")),
        ("IPCNS_SHM", lambda entry: entry.update(extra="AA==", size=40)),
    )
    for kind, damage in damages:
        document = codec.image_to_json(contents(images, write(images, kind, sample(schema, kind))), kind)
        damage(document["entries"][0])
        with pytest.raises(BadInput, match=r"entries\[0\]\.extra"):
            codec.image_from_json(document)


# The command


def test_decode_encode_show_info(images: Images, schema: Schema, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    name = write(images, "PIPES_DATA", sample(schema, "PIPES_DATA"))
    path, out, again = str(tmp_path / name), str(tmp_path / "out.json"), str(tmp_path / "again")
    assert main(["decode", "-i", path, "-o", out]) == 0
    assert main(["encode", "-i", out, "-o", again]) == 0
    assert Path(again).read_bytes() == Path(path).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(path).read_bytes())))
    assert main(["decode", "--pretty"]) == 0
    assert main(["show", path]) == 0
    first, second = capsys.readouterr().out.strip().split("\n}\n{\n")
    assert first[2:] == second[:-2] and '\n    "magic": "PIPES_DATA"' in first
    assert main(["show", "--nopl", path]) == 0
    assert json.loads(capsys.readouterr().out)["entries"][0]["extra"] == "... <3B>"
    assert main(["info", path]) == 0
    info = json.loads(capsys.readouterr().out)
    sizes = info.pop("entries_size") + info.pop("payload_size")
    assert info == {"magic": "PIPES_DATA", "count": 2, "size": 8 + 2 * 4 + sizes}


def test_errors_are_one_line(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "raw").write_bytes(b"\x7fELF" * 9)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut.img").write_bytes(IMAGES["INVENTORY"].magic.to_bytes(4, "little") + b"\5\0\0\0ab")
    (tmp_path / "text").write_text("{")
    (tmp_path / "nothing").write_text('{"magic": "FS", "entries": [{}]}')
    for arguments, what in (
        (["show", "absent"], "absent: No such file"),
        (["show", "raw"], "raw: offset 0: no image begins with 7f 45 4c 46"),
        (["info", "empty"], "empty: offset 0: empty"),
        (["decode", "-o", "never", "-i", "cut.img"], "cut.img: offset 4: truncated"),
        (["encode", "-o", "never", "-i", "text"], "text: Expecting property name"),
        (["encode", "-o", "never", "-i", "raw"], "raw: "),
        (["encode", "-o", "never", "-i", "nothing"], "nothing: entries[0]: fs_entry lacks the required field"),
        (["x", "absent", "ps"], "absent"),
        (["x", ".", "ps"], "pstree.img: offset 0: missing"),
    ):
        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            assert main(arguments) == 1
        finally:
            os.chdir(before)
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("crit: ") and err.count("\n") == 1 and what in err
    assert not (tmp_path / "never").exists()


def test_usage_errors(capsys: Any) -> None:
    for arguments in ([], ["nonsense"], ["x", "."], ["x", ".", "nonsense"], ["info"]):
        assert main(arguments) == 2
        assert "usage: crit" in capsys.readouterr().err
    assert main(["--help"]) == 0


def test_a_reader_that_goes_away(images: Images, schema: Schema) -> None:
    name = write(images, "PSTREE", sample(schema, "PSTREE") * 2000)
    command = [sys.executable, "-m", "engine.images.crit", "show", os.path.join(images.path, name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as crit:
        assert crit.stdout and crit.stderr
        crit.stdout.close()
        assert crit.stderr.read() == b""
        assert crit.wait() == 1
