"""Who inherits which page: planned restores played in a model of fork(2), against random histories of a family."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel import proc
from engine.kernel.memory import PAGE
from engine.kernel.uapi import mman
from engine.memory import cow, vmas
from engine.memory.cow import Space
from zdtm.tests.killing import wait_until
from zdtm.tests.tasks import Criu, end_restored

BASE, PAGES = 0x10000000, 24
Part = tuple[int, int, int, int, int]
Versions = dict[int, int]  # address -> number of the frame


class Task:
    """As the kernel has it: frames by address. Also as the images have it."""

    def __init__(self, pid: int, parent: Task | None, size: int) -> None:
        self.pid = pid
        self.parent = parent
        self.size = size
        self.frames: Versions = dict(parent.frames) if parent else {}
        self.dead = False


def history(seed: int) -> list[Task]:
    """A family that forked, wrote, gave back, and grew and shrank its one mapping."""
    rng = random.Random(seed)
    root = Task(1, None, PAGES)
    tasks = [root]
    frame = 0
    for _ in range(rng.randrange(10, 60)):
        task = rng.choice(tasks)
        what = rng.random()
        if what < 0.15 and len(tasks) < 8:
            tasks.append(Task(len(tasks) + 1, task, task.size))
        elif what < 0.75:
            for at in rng.sample(range(task.size), rng.randrange(1, min(task.size, 6) + 1)):
                frame += 1
                task.frames[BASE + at * PAGE] = frame
        elif what < 0.85:
            task.frames.pop(BASE + rng.randrange(task.size) * PAGE, None)
        else:
            task.size = rng.randrange(2, PAGES + 8)
            task.frames = {at: f for at, f in task.frames.items() if at < BASE + task.size * PAGE}
    return tasks


def planned(tasks: list[Task], told: bool, contents: dict[int, Task]) -> tuple[dict[int, Space], dict[int, Any]]:
    owners: dict[tuple[int, int], int] = {}
    spaces, nodes = {}, {}
    for task in tasks:
        v = SimpleNamespace(
            start=BASE,
            end=BASE + task.size * PAGE,
            pgoff=0,
            shmid=0,
            prot=3,
            flags=mman.MAP_PRIVATE | mman.MAP_ANONYMOUS,
            status=vmas.REGULAR | vmas.ANON_PRIVATE,
            madv=0,
            fdflags=0,
            name=b"",
        )
        parts: list[Part] = []
        for offset, (at, frame) in enumerate(sorted(task.frames.items())):
            owner = owners.setdefault((frame, at), task.pid) if told else 0
            parts.append((at, PAGE, offset * PAGE, task.pid, owner))
        images: Any = SimpleNamespace(pid=task.pid, vdso=None, mm=SimpleNamespace(exe_file_id=1, vmas=[v]))
        spaces[task.pid] = Space(images, parts)
        ids = {"vm": task.pid, "files": task.pid}
        nodes[task.pid] = SimpleNamespace(pid=task.pid, dead=False, ids=ids, bears=[])
        if task.parent:
            nodes[task.parent.pid].bears.append(nodes[task.pid])
    contents.update({task.pid: task for task in tasks})
    tree: Any = SimpleNamespace(nodes=list(nodes.values()))
    cow.plan(tree, spaces, lambda number: number)
    return spaces, nodes


def played(tasks: list[Task], spaces: dict[int, Space], nodes: dict[int, Any]) -> dict[int, Versions]:
    """The frames that every task has when all programs have run; new frames have new numbers."""
    memory: dict[int, Versions] = {}
    count = 0

    def read(pid: int, parts: list[Part]) -> None:
        nonlocal count
        for start, size, offset, number, _ in parts:
            stored = sorted(by_pid[number].frames.items())
            for i in range(size // PAGE):
                at, frame = stored[offset // PAGE + i]
                assert at == start + i * PAGE, "another page than the one that belongs there"
                count += 1
                memory[pid][at] = count
                content[count] = frame

    by_pid = {task.pid: task for task in tasks}
    content: dict[int, int] = {}
    todo = [tasks[0].pid]
    at_birth: dict[int, Versions] = {tasks[0].pid: {}}
    while todo:
        pid = todo.pop()
        space = spaces[pid]
        memory[pid] = {}
        if space.creator is not None:
            kept = [space.extents[start] for start in space.kept]
            memory[pid] = {a: f for a, f in at_birth[pid].items() if any(low <= a < high for low, high in kept)}
        for start, end in space.dropped:
            memory[pid] = {a: f for a, f in memory[pid].items() if not start <= a < end}
        read(pid, space.before)
        for kid in nodes[pid].bears:
            at_birth[kid.pid] = dict(memory[pid])
            todo.append(kid.pid)
        read(pid, space.after)
        for start, end in space.dropped_after:
            memory[pid] = {a: f for a, f in memory[pid].items() if not start <= a < end}
        memory[pid] = {a: f for a, f in memory[pid].items() if a < BASE + by_pid[pid].size * PAGE}
        assert {a: content[f] for a, f in memory[pid].items()} == by_pid[pid].frames, f"pid {pid} has other pages"
    return memory


def shared(frames: dict[int, Versions]) -> set[tuple[int, int, int]]:
    """(address, pid, pid) of all pages that two have in common."""
    return {
        (at, one, other)
        for one in frames
        for other in frames
        if one < other
        for at, frame in frames[one].items()
        if frames[other].get(at) == frame
    }


@pytest.mark.parametrize("told", [True, False], ids=["told", "compared"])
def test_every_task_has_its_pages_and_shares_them(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the history; of what was shared, all but what the design gives up."""
    lost = kept = 0
    for seed in range(400):
        tasks = history(seed)
        contents: dict[int, Task] = {}

        def same(a: list[Any], b: list[Any], contents: dict[int, Task] = contents) -> list[tuple[int, int]]:
            """Of images that do not tell: by content, which is the frame's number here."""
            left, right = ({at: fd for at, _, _, fd in parts} for parts in (a, b))
            return [
                (at, at + PAGE)
                for at in sorted(left.keys() & right.keys())
                if contents[left[at]].frames[at] == contents[right[at]].frames[at]
            ]

        monkeypatch.setattr(cow, "same_pages", same)
        spaces, nodes = planned(tasks, told, contents)
        now = shared(played(tasks, spaces, nodes))
        before = shared({task.pid: task.frames for task in tasks})
        assert now <= before, f"history {seed}: {sorted(now - before)} are shared, and were not"
        lost += len(before - now)
        kept += len(now)
    assert kept > 1000
    assert lost < kept / 10, f"{lost} pages are shared no more, {kept} are"


def test_ranges() -> None:
    """cut and without, against sets of addresses."""

    def addresses(parts: list[Part]) -> list[tuple[int, int]]:
        return [(at, offset + at - start) for start, size, offset, _, _ in parts for at in range(start, start + size)]

    rng = random.Random(1)
    for _ in range(500):
        ends = sorted(rng.sample(range(60), 8))
        parts = [(a, b - a, a * 100, 1, 0) for a, b in zip(ends[::2], ends[1::2], strict=True)]
        ends = sorted(rng.sample(range(60), 6))
        where = list(zip(ends[::2], ends[1::2], strict=True))
        inside = [one for one in addresses(parts) if any(a <= one[0] < b for a, b in where)]
        assert addresses(cut := cow.cut(parts, where)) == inside
        rest = cow.without(parts, where)
        assert sorted(addresses(rest) + inside) == addresses(parts)
        assert cow.merged(rest, cut) == sorted(rest + cut)


# Prints where 64 pages are that it shares with its child, and waits.
SHARES = """
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    char *pages = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(pages, 1, 64 * 4096);
    if (!fork())
        for (;;)
            pause();
    printf("%p\\n", (void *)pages);
    fflush(stdout);
    for (;;)
        pause();
}
"""


def test_dump_leaves_shared_pages_shared(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """Reading a page must not make the kernel give the running task a copy of its own."""

    def frames(pid: int) -> tuple[int, ...]:
        with open(f"/proc/{pid}/pagemap", "rb") as f:
            f.seek(at // PAGE * 8)
            return struct.unpack("<64Q", f.read(64 * 8))

    process = start(c_program(SHARES))
    wait_until("it starts", lambda: process.log.read_bytes().endswith(b"\n"))
    at = int(process.log.read_text(), 16)
    (kid,) = proc.children(process.pid)
    before = frames(process.pid)
    assert frames(kid) == before
    criu("dump", "-R", "-t", str(process.pid), "-D", images)
    assert frames(process.pid) == frames(kid) == before


# 64 pages that a task, its child and its grandchild share but for one each, and a page of zeroes. SIGTERM: are they so?
FAMILY = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char *pages;
static pid_t kid;
static int own;

static void check(int sig)
{
    (void)sig;
    int bad = 0, status = 0;

    for (int i = 0; i < 64 * 4096; i++)
        bad += pages[i] != (i / 4096 == 63 ? 0 : i / 4096 == own ? 100 + own : i / 4096 + 1);
    if (kid) {
        kill(kid, SIGTERM);
        waitpid(kid, &status, 0);
    }
    _exit(bad || status);
}

int main(void)
{
    pages = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 64 * 4096; i++)
        pages[i] = i / 4096 == 63 ? 0 : i / 4096 + 1;
    signal(SIGTERM, check);
    for (own = 0; own < 2; own++) {
        kid = fork();
        if (kid)
            break;
        kid = 0;
    }
    memset(pages + own * 4096, 100 + own, 4096);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""


def _family(c_program: Any, start: Any) -> Any:
    process = start(c_program(FAMILY))
    wait_until("it starts", lambda: process.log.read_bytes() == b"ready\n" * 3)
    return process


def _stored(images: str) -> int:
    return sum(path.stat().st_size for path in Path(images).glob("pages-*.img"))


def _varint(number: int, size: int) -> bytes:
    return bytes(number >> 7 * i & 127 | (128 if i + 1 < size else 0) for i in range(size))


def test_shared_pages_are_stored_once(criu: Criu, c_program, start, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    process = _family(c_program, start)
    (tmp_path / "each").mkdir()
    criu("dump", "-R", "-t", str(process.pid), "-D", str(tmp_path / "each"))
    criu("dump", "-t", str(process.pid), "-D", images, "--share-pages")
    process.wait()
    assert _stored(str(tmp_path / "each")) - _stored(images) >= 2 * 60 * PAGE
    for directory in (str(tmp_path / "each"), images):
        criu("restore", "-d", "-S", "-D", directory)
        end_restored(process.pid)


def test_pages_that_nobody_has_stored(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """The owner of shared pages has to be in the images, and before those who share them."""
    process = _family(c_program, start)
    (kid,) = proc.children(process.pid)
    criu("dump", "-t", str(process.pid), "-D", images, "--share-pages")
    process.wait()
    path = Path(images) / f"pagemap-{kid}.img"
    _, entries = Images.open(Schema(), images).read_pagemap("PAGEMAP", kid)
    data = path.read_bytes()
    assert process.pid in {entry.same_as for entry in entries}
    size = (process.pid.bit_length() + 6) // 7
    of_parent, of_nobody = (b"\xc0\x3e" + _varint(number, size) for number in (process.pid, (1 << 7 * size) - 1))
    assert of_parent in data
    path.write_bytes(data.replace(of_parent, of_nobody))
    done = criu("restore", "-d", "-D", images, check=False)
    assert done.returncode == 1
    assert f"pagemap-{kid}.img" in done.stderr
    assert "which does not come before it; dump again" in done.stderr


def test_peer_refuses_pages_that_are_stored_once(  # type: ignore[no-untyped-def]
    criu: Criu, peer_criu: Path, c_program, start, images: str
) -> None:
    """It must not take them for something else."""
    process = _family(c_program, start)
    criu("dump", "-t", str(process.pid), "-D", images, "--share-pages")
    process.wait()
    done = subprocess.run([peer_criu, "restore", "-d", "-D", images, "-v4"], capture_output=True, text=True)
    assert done.returncode != 0
    assert not os.path.exists(f"/proc/{process.pid}")
