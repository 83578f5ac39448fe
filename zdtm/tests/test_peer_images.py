"""Images that the peer has written of real processes: read, validated, re-encoded byte for byte, explored."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.images import crit_x, wire
from engine.images.crit_json import Codec
from engine.images.files import Images
from engine.images.pagemap import pages_in
from engine.images.schema import Schema
from engine.images.table import RAW, by_name
from engine.images.validate import validate_all
from zdtm.tests.tasks import PROGRAMS, wait


class Dump:
    """A directory of images, and what the kernel said of the process before: file numbers and mappings."""

    def __init__(self, images: Images, pid: int, links: dict[int, str], maps: list[str]) -> None:
        self.images, self.pid, self.links, self.maps = images, pid, links, maps


@pytest.fixture
def dump(peer_criu: Path, c_program, start, tmp_path: Path) -> Callable[..., Dump]:  # type: ignore[no-untyped-def]
    """Runs a program and has the peer dump it: `dump("objects", "--option", ...)`."""

    def run(name: str, *options: str) -> Dump:
        work = tmp_path / "work"
        work.mkdir()
        process = start(c_program(PROGRAMS / f"{name}.c", "-pthread"), cwd=work)
        wait(lambda: process.log.read_bytes() == b"ready\n" or process.poll() is not None)
        assert process.poll() is None, process.log.read_text()
        folder = Path(f"/proc/{process.pid}/fd")
        links = {int(fd.name): os.readlink(fd) for fd in folder.iterdir()}
        maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        directory = tmp_path / "dumped"
        directory.mkdir()
        command = [str(peer_criu), "dump", "-t", str(process.pid), "-D", str(directory), "-o", "dump.log", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        log = directory / "dump.log"
        assert done.returncode == 0, done.stderr + (log.read_text()[-2000:] if log.exists() else "")
        return Dump(Images.open(Schema(), str(directory)), process.pid, links, maps)

    return run


def check(images: Images) -> set[str]:
    """Everything is read and valid, and comes out of JSON as it went in; returns the kinds that were there."""
    validate_all(images)
    codecs = [Codec(images.schema, pretty) for pretty in (False, True)]
    kinds = set()
    for name in images.names():
        found = by_name(name)
        assert found
        image, ids = found
        kinds.add(image.kind)
        if image.head == RAW:
            continue
        data = Path(images.path, name).read_bytes()
        if image.payload and image.payload != "pagemap":
            entries = images.read_payload(image.kind, *ids)
            assert wire.serialize(image, [e for e, _ in entries], [p for _, p in entries]) == data, name
        else:
            assert wire.serialize(image, images.read(image.kind, *ids)) == data, name
        for codec in codecs:
            document = json.loads(json.dumps(codec.image_to_json(data, name)))
            assert codec.image_from_json(document) == data, name
            assert "unknown" not in json.dumps(document), f"{name} has fields that the schema lacks"
    return kinds


def test_objects(dump: Callable[..., Dump]) -> None:
    done = dump("objects")
    kinds = check(done.images)
    assert {"CORE", "MM", "PAGEMAP", "SHMEM_PAGEMAP", "FILES", "FDINFO", "PSTREE", "INVENTORY", "STATS"} <= kinds
    assert {"PIPES_DATA", "FIFO_DATA", "SK_QUEUES", "GHOST_FILE", "REMAP_FPATH", "MEMFD_INODE"} <= kinds
    types = {done.images.schema.enum_name("fd_types", entry.type) for entry in done.images.read("FILES")}
    assert {"REG", "PIPE", "FIFO", "UNIXSK", "INETSK", "NETLINKSK", "EVENTFD", "EVENTPOLL", "SIGNALFD"} <= types
    assert {"TIMERFD", "INOTIFY", "MEMFD"} <= types
    explore(done)


def explore(done: Dump) -> None:
    """crit x tells what the kernel told before."""
    tree = done.images.read("PSTREE")
    head, root, child = crit_x.processes(done.images)
    comm = done.images.read_one("CORE", done.pid).tc.comm
    assert head.split() == ["PID", "PGID", "SID", "COMM"]
    assert root.split() == [str(done.pid)] * 3 + [comm]
    assert child.split() == [str(tree[1].pid), str(done.pid), str(done.pid), comm] and f"       {comm}" in child

    lines = list(crit_x.descriptors(done.images))
    assert lines[0] == str(done.pid) and str(tree[1].pid) in lines
    own = lines[1 : lines.index(str(tree[1].pid))]
    shown = dict(line.strip().split(": ", 1) for line in own)
    assert shown.pop("cwd") == str(Path(done.images.path).parent / "work") and shown.pop("root") == "/"
    assert set(shown) == {str(fd) for fd in done.links}
    for fd, link in done.links.items():
        what = shown[str(fd)]
        if link.startswith("pipe:"):
            assert what == f"pipe[{link[6:-1]}]"
        elif link.startswith("/") and not link.startswith("/memfd:") and not link.endswith("/fifo"):
            assert what == link.removesuffix(" (deleted)")
        elif link.startswith("socket:") and what.startswith("unix["):
            assert what.startswith(f"unix[{link[8:-1]} (")
        elif not link.startswith(("/", "socket:")):
            assert what.split(".")[0].lower() in link.replace("pollfd", "") or "eventpoll" in link
    assert f"unix[{done.links[9][8:-1]}" in str(shown) and any("sock=00" in what for what in shown.values())

    shown_maps = [line.split()[0] for line in crit_x.mappings(done.images)]
    known = {line.split()[0].lstrip("0") for line in done.maps}
    ours = shown_maps[2 : shown_maps.index(str(tree[1].pid))]
    assert len(ours) > 20
    # The kernel shows the two halves of the vvar apart.
    vvar = next(line.split("-")[0] for line in done.maps if line.endswith("[vvar]"))
    assert not [span for span in ours if span not in known and not span.startswith(vvar)]
    text = "\n".join(crit_x.mappings(done.images))
    for name in ("[heap]", "[stack]", "[vdso]", "[vvar]", "libc.so.6 + 0x", "memfd:/dev/zero (s)"):
        assert name in text, name

    pages: dict[str, int] = {}
    pid = ""
    for line in crit_x.resident(done.images):
        if not line.startswith("\t"):
            pid = line
        elif line[1] != " ":
            pages[pid] = pages.get(pid, 0) + int(line.split()[2])
    for task in tree:
        runs = done.images.read_pagemap("PAGEMAP", task.pid)[1]
        assert pages[str(task.pid)] == sum(map(pages_in, runs))


def test_queues(dump: Callable[..., Dump]) -> None:
    done = dump("queues", "--tcp-established", "--network-lock", "skip")
    kinds = check(done.images)
    assert {"IPCNS_MSG", "IPCNS_SEM", "IPCNS_SHM", "IPC_VAR", "UTSNS", "TCP_STREAM"} <= kinds
    names = {found[0].kind: found[1] for found in map(by_name, done.images.names()) if found}
    queue, payload = done.images.read_payload("IPCNS_MSG", *names["IPCNS_MSG"])[0]
    messages = wire.ipc_messages(done.images.schema, payload, "")
    assert queue.desc.key == 77 and [text for _, text, _ in messages] == [b"twenty-one characters", b"twe"]
    sems, values = done.images.read_payload("IPCNS_SEM", *names["IPCNS_SEM"])[0]
    assert sems.nsems == 3 and values == b"\0\0\x09\0\0\0\0\0"
    assert done.images.read_one("UTSNS", *names["UTSNS"]).nodename == "inside"
    streams = [found[1] for found in map(by_name, done.images.names()) if found and found[0].kind == "TCP_STREAM"]
    assert sorted(done.images.read_payload("TCP_STREAM", *ids)[0][1] for ids in streams) == [b"", b"in the queue"]
    assert "sysvipc (s)" in "\n".join(crit_x.mappings(done.images))
