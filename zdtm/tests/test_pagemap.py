"""Pagemaps in native code say what protobuf says, of good entries and bad ones; and what a dump leaves out."""

import os
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from engine.errors import BadImage
from engine.images import wire
from engine.images.files import Images
from engine.images.pagemap import HUGE, OWNER, RUN, Pagemap
from engine.images.schema import Schema
from engine.images.table import IMAGES
from engine.images.validate import validate_all
from engine.kernel import memory
from engine.kernel import pagemap as native_pagemap
from engine.kernel.pagemap import Loads
from zdtm.tests.samples import assert_bad
from zdtm.tests.tasks import Criu, wait

PAGE = 4096
MIB = 1 << 20


@pytest.fixture(params=[None, native_pagemap], ids=["protobuf", "native"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Images]:
    native: ModuleType | None = request.param
    found = Images.open(Schema(), str(tmp_path), native)
    found.write("INVENTORY", (), [found.schema.message("inventory_entry")(img_version=2)])
    yield found
    found.close()


def write(both: Images, *entries: bytes) -> Path:
    """A pagemap of one task; the entries come without their lengths."""
    head = wire.serialize(IMAGES["PAGEMAP"], [both.schema.message("pagemap_head")(pages_id=1)])
    path = Path(both.path, "pagemap-9.img")
    path.write_bytes(head + b"".join(len(e).to_bytes(4, "little") + e for e in entries))
    return path


def fresh(both: Images) -> Images:
    return Images(both.schema, both.dirfd, both.path, both._native)


def some_entry(both: Images, chance: random.Random) -> bytes:
    """An entry that has any of its fields, in any of its forms."""
    entry = both.schema.message("pagemap_entry")(
        vaddr=chance.choice([0, PAGE, 0x7FFF_FFFF_F000, 0xFFFF_FFFF_FFFF_F000, chance.getrandbits(64)]),
        compat_nr_pages=chance.choice([0, 1, chance.getrandbits(32)]),
    )
    for field, values in (
        ("in_parent", [False, True]),
        ("flags", [0, 1, 2, 4, 6, 0xFFFF_FFFF]),
        ("nr_pages", [0, 1, 1 << 40, (1 << 64) - 1]),
        ("same_as", [0, 1, 42, (1 << 32) - 1]),
        ("huge", [False, True]),
    ):
        if chance.random() < 0.5:
            setattr(entry, field, chance.choice(values))
    data: bytes = entry.SerializeToString()
    if chance.random() < 0.2:  # of the future, and a field that is there twice: the last one counts
        more = [b"\xf8\x7d\x05", b"\xfa\x7d\x02ab", b"\x28\x07", b"\x20\x84\x00", b"\x20\x80\x80\x80\x80\x10"]
        data += chance.choice(more)
    return data


def test_every_form_of_an_entry(both: Images) -> None:
    """What is read is what protobuf says is there, field by field."""
    chance = random.Random(42)
    entries = [some_entry(both, chance) for _ in range(2000)]
    write(both, *entries)
    head, runs = both.pagemap("PAGEMAP", 9)
    assert head.pages_id == 1 and len(runs) == len(entries)
    stored = flags = 0
    for (addr, pages, flag), data in zip(runs, entries, strict=True):
        want = both.schema.message("pagemap_entry").FromString(data)
        assert addr == want.vaddr
        assert pages == (want.nr_pages if want.HasField("nr_pages") else want.compat_nr_pages)
        present = bool(want.flags & 4) if want.HasField("flags") else not want.in_parent
        assert (bool(flag & 4), bool(flag & HUGE), flag >> OWNER) == (present, want.huge, want.same_as)
        assert bool(flag & 1) == (want.in_parent or bool(want.flags & 1))
        stored += pages if present else 0
        flags |= flag
    assert runs.flags == flags and runs.stored == min(stored, (1 << 63) - 1 if both._native else stored)


def test_broken_entries(both: Images) -> None:
    """Behind good ones: the error says where and what, whoever reads."""
    good = both.schema.message("pagemap_entry")(vaddr=PAGE, compat_nr_pages=0, nr_pages=1, flags=4)
    for broken, what in (
        (b"\x10\x00\x28\x01", "lacks the required field vaddr"),
        (b"\x08\x01\x28\x01", "lacks the required field compat_nr_pages"),
        (b"", "lacks the required field"),
        (b"\x08", "not a pagemap_entry"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a pagemap_entry"),
        (b"\xff\xff\xff", "not a pagemap_entry"),
        (b"\x0f\x01", "not a pagemap_entry"),
    ):
        path = write(both, *[good.SerializeToString()] * 3, broken, good.SerializeToString())
        at = path.stat().st_size - len(good.SerializeToString()) - len(broken) - 8
        assert_bad(lambda: fresh(both).pagemap("PAGEMAP", 9), path.name, at, what)


def test_truncated_at_every_byte(both: Images) -> None:
    """A BadImage that points to where it ends, unless it is between two entries."""
    good = both.schema.message("pagemap_entry")(vaddr=PAGE, compat_nr_pages=0, nr_pages=1, flags=4)
    path = write(both, *[good.SerializeToString()] * 3)
    whole, size = path.read_bytes(), len(good.SerializeToString()) + 4
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        left = len(whole) - end
        if left % size == 0 and left // size <= 3:
            assert len(fresh(both).pagemap("PAGEMAP", 9)[1]) == 3 - left // size
        else:
            with pytest.raises(BadImage, match=r"truncated|is missing") as caught:
                fresh(both).pagemap("PAGEMAP", 9)
            assert caught.value.name == path.name and caught.value.offset <= end


def test_huge_counts_are_not_believed(both: Images) -> None:
    """Two entries of 2^63 pages and more are no empty image."""
    new = both.schema.message("pagemap_entry")
    entries = [new(vaddr=0, compat_nr_pages=0, nr_pages=1 << 63, flags=4).SerializeToString()] * 2
    write(both, *entries)
    Path(both.path, "pages-1.img").write_bytes(b"")
    assert_bad(lambda: validate_all(both), "pages-1.img", 0, "truncated")


def test_what_is_written_is_read() -> None:
    """Any number of runs, across all batches; and it is what protobuf writes."""
    new, chance = Schema().message("pagemap_entry"), random.Random(7)
    count = 100_000
    made, want = [], []
    for _ in range(count):
        start, pages = chance.getrandbits(47) & -PAGE, chance.getrandbits(chance.randrange(1, 40))
        flags = (
            chance.choice([0, memory.LAZY, memory.HUGE, memory.LAZY | memory.HUGE]) | chance.choice([0, 42]) << OWNER
        )
        made.append((start, pages, flags))
        entry = new(vaddr=start, compat_nr_pages=0, flags=6 if flags & memory.LAZY else 4, nr_pages=pages)
        if flags >> OWNER:
            entry.same_as = 42
        if flags & memory.HUGE:
            entry.huge = True
        want.append(entry)
    runs = memory.Runs.of(made)
    data = b"".join(native_pagemap.encode(runs))
    assert data == b"".join(len(e).to_bytes(4, "little") + e for e in (entry.SerializeToString() for entry in want))
    back, pos = bytearray(), 0
    while pos < len(data):
        more, pos = native_pagemap.decode(data, pos)
        assert more
        back += more
    assert [run[:2] for run in Pagemap(back)] == [run[:2] for run in runs]
    assert [bool(run[2] & HUGE) for run in Pagemap(back)] == [entry.huge for entry in want]


def packed(*runs: tuple[int, int, int]) -> bytearray:
    return bytearray(b"".join(RUN.pack(*run) for run in runs))


def parts(loads: Loads, shares: int) -> list[list[tuple[int, int, int]]]:
    """(address, bytes, offset) of each part, by share."""
    split = loads.split(shares)
    room = bytearray(loads.count * 24)
    loads.write(shares, room, 0, loads.count * 16)
    vector = list(struct.iter_unpack("<2Q", room[: loads.count * 16]))
    offsets = [offset for (offset,) in struct.iter_unpack("<Q", room[loads.count * 16 :])]
    assert [first for first, _ in split] == [sum(n for _, n in split[:i]) for i in range(len(split))]
    return [
        [(at, size, offset) for (at, size), offset in zip(vector[a : a + n], offsets[a : a + n], strict=True)]
        for a, n in split
    ]


def test_where_pages_go() -> None:
    """Runs are cut where mappings end; those of the vdso are passed over; neighbours are one part."""
    areas = [(0x1000, 0x3000, False), (0x3000, 0x5000, False), (0x8000, 0xA000, True), (0xA000, 0xC000, False)]
    data = packed((0x2000, 2, 4), (0x4000, 1, 1), (0x8000, 3, 4), (0xB000, 1, 6))
    loads = Loads(data, areas)
    assert parts(loads, 1) == [[(0x2000, 0x2000, 0), (0xA000, 0x2000, 0x4000)]]
    assert loads.filled == {0x1000, 0x3000, 0xA000} and loads.size == 0x4000 and loads.bad == -1
    for run in ((0x5000, 1, 4), (0x4000, 2, 4), (0xC000, 1, 4), (0, 1, 4), (0x1800, 1, 4)):
        assert Loads(packed(run), areas).bad in (0, 0x1800, 0x5000, 0xC000), run
    assert Loads(packed((0x5000, 1, 1)), areas).bad == -1  # it is in a parent: nothing to load


def test_shares_are_alike() -> None:
    """Together all of it, each about as much, huge pages whole."""
    chance = random.Random(3)
    runs, at, total = [], 1 << 30, 0
    for _ in range(3000):
        pages = chance.choice([1, 2, 16, 700, 5000])
        runs.append((at, pages, 4))
        at += (pages + chance.randrange(1, 5)) * PAGE
        total += pages * PAGE
    loads = Loads(packed(*runs), [(1 << 30, at, False)])
    assert loads.size == total
    for shares in (1, 2, 3, 8):
        split = parts(loads, shares)
        assert len(split) == shares
        assert sum(size for share in split for _, size, _ in share) == total
        sizes = [sum(size for _, size, _ in share) for share in split]
        assert max(sizes) - min(sizes) <= 4 * MIB * shares
        offset = 0
        for part in (part for share in split for part in share):
            assert part[2] == offset
            offset += part[1]


ZEROES = """
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    char *p = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(p, 1, 64 << 20);
    memset(p, 0, 64 << 20);
    p[5 << 20] = 1;
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""


def test_zeroes_are_not_stored(criu: Criu, images: str, c_program, start) -> None:  # type: ignore[no-untyped-def]
    """64 MiB that are there and all zeroes take nothing of the image but their one other page."""
    task = start(c_program(ZEROES))
    wait(lambda: task.log.read_bytes() == b"ready\n")
    criu("dump", "-R", "-t", str(task.pid), "-D", images)
    task.kill()
    found = Images.open(Schema(), images)
    _, runs = found.pagemap("PAGEMAP", task.pid)
    found.close()
    assert Path(images, "pages-1.img").stat().st_size == runs.stored * PAGE < MIB


# Fills memory with what repeats nowhere, and prints where it is.
RANDOM = """
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    uint64_t *at = mmap(NULL, %d, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), x = 1;

    for (size_t i = 0; i < %d / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at[i] = x;
    }
    printf("%%p\\n", (void *)at);
    fflush(stdout);
    for (;;)
        pause();
}
"""


def test_a_pipe_gets_the_same_as_a_file(c_program, start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """More than one thread would write into a file, in any order."""
    size = 40 << 20
    process = start(c_program(RANDOM % (size, size)))
    wait(lambda: process.log.read_bytes().endswith(b"\n"))
    at = int(process.log.read_text(), 16)
    where, mem = (os.open(f"/proc/{process.pid}/{name}", os.O_RDONLY) for name in ("pagemap", "mem"))
    path = tmp_path / "pages"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    source, pipe = os.pipe()
    got = bytearray()

    def drain() -> None:
        with open(source, "rb") as end:
            got.extend(end.read())

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        runs, _ = memory.scan_pages(where, [(at, at + size, 0)], memory.PageStats())
        made = [
            list(memory.dump_pages(process.pid, mem, where, out, "out", runs, memory.PageStats()))
            for out in (file, pipe)
        ]
    finally:
        for fd in (where, mem, file, pipe):
            os.close(fd)
        reader.join()
    assert made[0] == made[1]
    assert sum(pages for _, pages, _ in made[0]) == size >> 12
    assert path.read_bytes() == got
