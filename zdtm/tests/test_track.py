"""Tracking: exactly the pages that a task has written to since, whatever it does to its mappings meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.context import Context
from engine.errors import EngineError, Unsupported
from engine.kernel import memory, proc, process
from engine.kernel.features import Features
from engine.kernel.pids import Pids
from engine.kernel.uapi import ptrace as pt
from engine.log import Log
from engine.memory import vdso
from engine.memory.track import Tracker
from engine.options import Options
from engine.tasks import freeze
from engine.tasks.collect import Collected, registers
from zdtm.tests.tasks import PROGRAMS, wait

PAGE = 4096
HUGE = 2 << 20
SPECIAL = ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]")


class Writer:
    """The program writer.c under our command."""

    def __init__(self, program: Path, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd, start_new_session=True, text=True
        )
        self.pid = self.process.pid

    def __call__(self, command: str, *args: int | str) -> int:
        """One command; returns its answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(" ".join(map(str, (command, *args))) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def write(self, start: int, *pages: int) -> None:
        """Change these pages of a mapping."""
        for page in pages:
            self("write", start + page * PAGE, 1)

    def filled(self, kind: str, pages: int) -> int:
        """A mapping of which all pages are there."""
        start = self("map", kind, pages * PAGE)
        self("write", start, pages)
        return start

    def ranges(self) -> list[tuple[int, int, int]]:
        """All mappings that may be tracked."""
        out = []
        for v in proc.smaps(self.pid):
            if v.path not in SPECIAL and not (v.shared and v.path != "/dev/zero (deleted)"):
                out.append((v.start, v.end, memory.SHARED if v.shared else 0))
        return out

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(params=["userfaultfd", "soft-dirty"])
def soft_dirty(request: pytest.FixtureRequest) -> bool:
    """By which of the two ways."""
    wanted: bool = request.param == "soft-dirty"
    if wanted and not Features.load().has("mem_dirty_track"):
        pytest.skip("this kernel has no soft-dirty bits")
    return wanted


@pytest.fixture
def writer(c_program, tmp_path: Path) -> Iterator[Writer]:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_bytes(b"x" * 16 * PAGE)
    process.block_sigchld(True)
    made = Writer(c_program(PROGRAMS / "writer.c"), tmp_path)
    assert made("brk", 0)
    yield made
    made.end()
    process.block_sigchld(False)


@contextmanager
def tracked(writer: Writer, soft_dirty: bool) -> Iterator[Tracker]:
    ctx = Context(Options(), Log())
    wait(lambda: proc.Stat(writer.pid).state == "S")
    with freeze.frozen(writer.pid, 5_000_000, pt.PTRACE_O_SUSPEND_SECCOMP, {}) as tree:
        vmas = proc.smaps(writer.pid)
        pids = Pids(writer.pid)
        task = Collected(ctx, tree.tasks[0], {}, set(), {}, pids)
        registers(ctx, task, vdso.areas(vmas), pids)
        first = task.live[0]
        tracker = Tracker.start(
            ctx, writer.pid, tree.tasks[0].first, first.regs, first.mask, vmas, writer.ranges(), soft_dirty
        )
    try:
        yield tracker
    finally:
        tracker.stop()


@contextmanager
def frozen(writer: Writer) -> Iterator[None]:
    with freeze.frozen(writer.pid, 5_000_000, 0, {}):
        yield


def changed(tracker: Tracker, writer: Writer, start: int, pages: int, again: bool = False) -> list[int]:
    """Which pages of a mapping have changed, by number; `again` is for all mappings."""
    with frozen(writer):
        runs = list(tracker.changed(writer.ranges(), again))
    return [page for page in range(pages) for at, count, _ in runs if at <= start + page * PAGE < at + count * PAGE]


KINDS = ["private", "shared", "file", "thp"]


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_what_was_written(writer: Writer, soft_dirty: bool, kind: str) -> None:
    start = writer.filled(kind, 16)
    with tracked(writer, soft_dirty) as tracker:
        assert changed(tracker, writer, start, 16) == []
        writer("read", start)
        writer.write(start, 0, 5, 6, 15)
        assert changed(tracker, writer, start, 16) == [0, 5, 6, 15]  # looking changes nothing
        assert changed(tracker, writer, start, 16, again=True) == [0, 5, 6, 15]
        assert changed(tracker, writer, start, 16) == []
        writer.write(start, 5, 9)
        assert changed(tracker, writer, start, 16, again=True) == [5, 9]
        assert writer("pread", start + 3 * PAGE, 2 * PAGE) == 2 * PAGE
        assert changed(tracker, writer, start, 16, again=True) == [3, 4]


def test_pages_that_were_not_there(writer: Writer, soft_dirty: bool) -> None:
    """Neither read, which brings the zero page, nor dropped; a private copy of a file's page is a change."""
    start, file = writer("map", "private", 16 * PAGE), writer("map", "file", 16 * PAGE)
    writer.write(start, 1, 2, 3)
    with tracked(writer, soft_dirty) as tracker:
        for page in (1, 7):
            writer("read", start + page * PAGE)
            writer("read", file + page * PAGE)
        writer.write(start, 8)
        writer.write(file, 2, 7)
        writer("drop", start + 2 * PAGE, PAGE)
        assert changed(tracker, writer, start, 16) == [8]
        assert changed(tracker, writer, file, 16, again=True) == [2, 7]
        writer.write(start, 2)
        assert changed(tracker, writer, start, 16) == [2]


def test_new_and_gone_mappings(writer: Writer, soft_dirty: bool) -> None:
    start = writer.filled("private", 8)
    other = writer.filled("private", 8)
    with tracked(writer, soft_dirty) as tracker:
        writer("unmap", start, 4 * PAGE)
        new = writer.filled("private", 32)
        writer.write(start, 6)
        assert changed(tracker, writer, new, 32) == list(range(32))
        assert changed(tracker, writer, other, 8) == []
        assert changed(tracker, writer, start, 8, again=True) == [6]
        writer.write(new, 31)
        assert changed(tracker, writer, new, 32) == [31]  # it is tracked from then on


def test_moved_mapping(writer: Writer, soft_dirty: bool) -> None:
    start = writer.filled("private", 64)
    blocker = writer("map", "private", PAGE)
    with tracked(writer, soft_dirty) as tracker:
        moved = writer("move", start, 64 * PAGE)
        assert moved != start and blocker
        assert changed(tracker, writer, moved, 128, again=True) == list(range(64))
        assert changed(tracker, writer, moved, 128) == []
        writer.write(moved, 3, 100)
        assert changed(tracker, writer, moved, 128) == [3, 100]


def test_protection(writer: Writer, soft_dirty: bool) -> None:
    """mprotect(2) neither loses changes nor makes them up, and nothing becomes writable by tracking."""
    start = writer.filled("private", 8)
    writer("protect", start + PAGE, 0)
    with tracked(writer, soft_dirty) as tracker:
        writer("protect", start + PAGE, 3)
        writer.write(start, 2, 4)
        writer("protect", start + 2 * PAGE, 0)
        writer("protect", start + 3 * PAGE, 1)
        writer("protect", start + 3 * PAGE, 3)
        assert changed(tracker, writer, start, 8, again=True) == [2, 4]
        writer("protect", start + 2 * PAGE, 3)
        assert changed(tracker, writer, start, 8) == []
        writer.write(start, 1, 2, 3)
        assert changed(tracker, writer, start, 8) == [1, 2, 3]


def test_fork(writer: Writer, soft_dirty: bool) -> None:
    """The child is not tracked, and its writes are not the parent's; the parent's are, in shared pages as well."""
    start = writer.filled("private", 8)
    with tracked(writer, soft_dirty) as tracker:
        child = writer("fork", start + 5 * PAGE)
        wait(lambda: proc.Stat(child).state == "S")
        assert not [v for v in proc.smaps(child) if {"uw", "um"} & set(v.flags)]
        assert changed(tracker, writer, start, 8) == []
        writer.write(start, 5, 6)
        assert changed(tracker, writer, start, 8) == [5, 6]


def test_stack_and_heap_grow(writer: Writer, soft_dirty: bool) -> None:
    before = next(v for v in proc.smaps(writer.pid) if v.path == "[stack]")
    old_break = writer("brk", 64 * PAGE)
    writer("write", old_break, 16)
    with tracked(writer, soft_dirty) as tracker:
        below = writer("descend", 200) & ~(PAGE - 1)
        assert below < before.start
        writer("brk", 64 * PAGE)
        writer("write", old_break + 60 * PAGE, 20)
        assert changed(tracker, writer, below, 190) == list(range(190))
        assert changed(tracker, writer, old_break, 128, again=True) == list(range(60, 80))
        assert changed(tracker, writer, below, 100) == []
        writer.write(below, 7)
        assert changed(tracker, writer, below, 100) == [7]


def test_exec(writer: Writer, soft_dirty: bool) -> None:
    """Another program: all its pages have changed, and by userfaultfd tracking has to begin anew."""
    with tracked(writer, soft_dirty) as tracker:
        assert writer.process.stdin
        writer.process.stdin.write("exec\n")
        writer.process.stdin.flush()
        wait(lambda: proc.Stat(writer.pid).comm == "exe")
        start = writer.filled("private", 8)
        assert changed(tracker, writer, start, 8) == list(range(8))
        if not soft_dirty:
            with pytest.raises(EngineError, match="executed another program"):
                tracker.changed(writer.ranges(), again=True)


def test_end(writer: Writer, soft_dirty: bool) -> None:
    with tracked(writer, soft_dirty) as tracker:
        ranges = writer.ranges()
        writer.end()
        with pytest.raises(EngineError, match=f"pid {writer.pid} has ended"):
            tracker.changed(ranges)


def test_many_runs(writer: Writer, soft_dirty: bool) -> None:
    """More than fit at once: none is lost, though each is protected again as it is found."""
    pages = 40_000
    start = writer.filled("private", pages)
    with tracked(writer, soft_dirty) as tracker:
        for page in range(0, pages, 2):
            writer.write(start, page) if page % 64 == 0 else None
        every = list(range(0, pages, 64))
        with frozen(writer):
            runs = list(tracker.changed([(start, start + pages * PAGE, 0)], again=True))
        assert [(at - start) // PAGE for at, _, _ in runs] == every and {count for _, count, _ in runs} == {1}
        child = [f"write {start + page * PAGE} 1\n" for page in range(0, pages, 2)]
        assert writer.process.stdin and writer.process.stdout
        for at in range(0, len(child), 500):
            writer.process.stdin.write("".join(child[at : at + 500]))
            writer.process.stdin.flush()
            for _ in child[at : at + 500]:
                writer.process.stdout.readline()
        with frozen(writer):
            runs = list(tracker.changed([(start, start + pages * PAGE, 0)], again=True))
            assert len(runs) == pages // 2
            assert not list(tracker.changed([(start, start + pages * PAGE, 0)]))


def test_flags_of_ranges(writer: Writer, soft_dirty: bool) -> None:
    """They are handed on to the runs; a whole range is a run in any case."""
    start = writer.filled("private", 8)
    with tracked(writer, soft_dirty) as tracker:
        writer.write(start, 1, 2)
        ranges = [(start, start + 8 * PAGE, memory.LAZY), (start, start + 2 * PAGE, memory.WHOLE)]
        with frozen(writer):
            assert list(tracker.changed(ranges)) == [(start + PAGE, 2, memory.LAZY), (start, 2, memory.WHOLE)]


def test_no_trace(writer: Writer) -> None:
    """Of the userfaultfd: none among the descriptors while it is at work, none at all afterwards."""

    def look() -> tuple[object, ...]:
        vmas = [(v.start, v.end, v.prot, v.path, v.flags) for v in proc.smaps(writer.pid)]
        return vmas, sorted(os.listdir(f"/proc/{writer.pid}/fd")), proc.status(writer.pid)["SigBlk"]

    start = writer.filled("private", 64)
    writer.filled("shared", 8)
    wait(lambda: proc.Stat(writer.pid).state == "S")
    before = look()
    with tracked(writer, False) as tracker:
        wait(lambda: proc.Stat(writer.pid).state == "S")
        assert look()[1:] == before[1:]
        assert [v for v in proc.smaps(writer.pid) if "uw" in v.flags]
        writer.write(start, 5)
        changed(tracker, writer, start, 64, again=True)
    assert look() == before
    writer.write(start, *range(64))


def test_holder_dies(writer: Writer) -> None:
    """SIGKILL of whoever holds the tracker ends tracking."""
    start = writer.filled("private", 8)
    ready, told = os.pipe()
    holder = os.fork()
    if not holder:
        with suppress(BaseException), tracked(writer, False):
            os.write(told, b"x")
            signal.pause()
        os._exit(1)
    os.close(told)
    assert os.read(ready, 1) == b"x"
    wait(lambda: proc.Stat(writer.pid).state == "S")
    assert [v for v in proc.smaps(writer.pid) if "uw" in v.flags]
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    wait(lambda: not [v for v in proc.smaps(writer.pid) if "uw" in v.flags])
    writer.write(start, 3)
    os.close(ready)


def test_killed_with_the_descriptor_in_the_task(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine dies while the task has it: it is closed, and the task runs on where it was."""
    start = writer.filled("private", 8)
    child = os.fork()
    if not child:
        monkeypatch.setattr(process, "pidfd_getfd", lambda pidfd, fd: os.kill(os.getpid(), signal.SIGKILL))
        with suppress(BaseException), tracked(writer, False):
            pass
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    writer.write(start, 3)
    wait(lambda: sorted(os.listdir(f"/proc/{writer.pid}/fd")) == ["0", "1", "2"])
    assert not [v for v in proc.smaps(writer.pid) if "uw" in v.flags]


def test_no_room_for_a_descriptor(writer: Writer) -> None:
    resource.prlimit(writer.pid, resource.RLIMIT_NOFILE, (3, 1024))
    with pytest.raises(Unsupported, match=r"has as many descriptors as it may.*RLIMIT_NOFILE"), tracked(writer, False):
        pass
    assert writer.filled("private", 2)
    assert sorted(os.listdir(f"/proc/{writer.pid}/fd")) == ["0", "1", "2"]


def test_writes_while_we_look(writer: Writer) -> None:
    """By userfaultfd, of a task that runs: no write is missed. One whose fault is over may find it protected again."""
    pages = 4096
    start = writer.filled("private", pages)
    with tracked(writer, False) as tracker:
        ranges = [(start, start + pages * PAGE, 0)]
        assert writer.process.stdin and writer.process.stdout
        writer.process.stdin.write(f"write {start} {pages}\n")
        writer.process.stdin.flush()
        found: set[int] = set()
        while len(found) < pages:
            for at, count, _ in tracker.changed(ranges, again=True):
                found |= {(at - start) // PAGE + i for i in range(count)}
        writer.process.stdout.readline()
        assert found == set(range(pages))


def test_huge_page_is_split_only_where_written(writer: Writer) -> None:
    """Protecting leaves a huge page huge; a write makes small pages of it, of which one has changed."""
    start = writer.filled("thp", 1024)

    def huge() -> int:
        text = proc.read_text(f"/proc/{writer.pid}/smaps").split(f"{start:x}-")[1]
        return int(text.split("AnonHugePages:")[1].split()[0]) * 1024

    if huge() != 2 * HUGE:
        pytest.skip("this kernel gave no transparent huge pages")
    with tracked(writer, False) as tracker:
        assert huge() == 2 * HUGE
        writer.write(start, 700)
        assert changed(tracker, writer, start, 1024) == [700]
        assert huge() == HUGE


@pytest.fixture
def hugetlb() -> Iterator[None]:
    """Two more huge pages may be had."""
    path = Path("/proc/sys/vm/nr_overcommit_hugepages")
    before = path.read_text()
    try:
        path.write_text(str(int(before) + 2))
    except OSError:
        pytest.skip("no huge pages can be had here")
    yield
    path.write_text(before)


def test_hugetlb(writer: Writer, soft_dirty: bool, hugetlb: None) -> None:
    """Huge pages change as a whole."""
    start = writer("map", "hugetlb", 2 * HUGE)
    if start == 2**64 - 1:
        pytest.skip("no huge pages can be had here")
    writer("write", start, 1024)
    with tracked(writer, soft_dirty) as tracker:
        assert changed(tracker, writer, start, 1024) == []
        writer.write(start, 600)
        assert changed(tracker, writer, start, 1024, again=True) == list(range(512, 1024))
        assert changed(tracker, writer, start, 1024) == []


@pytest.fixture
def swap(tmp_path: Path) -> Iterator[None]:
    """16 MiB of it."""
    file = tmp_path / "swap"
    file.write_bytes(bytes(16 << 20))
    file.chmod(0o600)
    if subprocess.run(f"mkswap {file} && swapon {file}", shell=True, capture_output=True).returncode:
        pytest.skip("swap cannot be had here")
    yield
    subprocess.run(["swapoff", file], check=True)


def test_swapped_pages(writer: Writer, soft_dirty: bool, swap: None) -> None:
    """Neither out nor in is a change; a page that was changed, and is out, is found there."""
    start = writer.filled("private", 64)
    writer("pageout", start, 8 * PAGE)
    with tracked(writer, soft_dirty) as tracker:
        writer.write(start, 20)
        writer("pageout", start + 16 * PAGE, 8 * PAGE)
        for page in (1, 17):
            writer("read", start + page * PAGE)
        writer.write(start, 2)
        assert changed(tracker, writer, start, 64, again=True) == [2, 20]
        assert changed(tracker, writer, start, 64) == []
