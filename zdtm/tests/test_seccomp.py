"""Seccomp of the engine: what is read of live threads, what images say of it, what threads install."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadImage, KernelError, Unsupported
from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel import proc
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi import seccomp as sc
from engine.plan import abi
from engine.plan.program import Arena, Program
from engine.tasks import seccomp
from zdtm.tests.machine import seeded
from zdtm.tests.tasks import PROGRAMS, wait

SOURCE = PROGRAMS / "filtered.c"
TSYNC, LOG = sc.SECCOMP_FILTER_FLAG_TSYNC, sc.SECCOMP_FILTER_FLAG_LOG
# clone_args of a thread: CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM
THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000


def code(nr: int, action: int) -> bytes:
    """A filter for one system call."""
    parts = ((0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000))
    return b"".join(struct.pack("<HBBI", *part) for part in parts)


def deny(nr: int, error: int) -> bytes:
    return code(nr, 0x50000 | error)


A, B, C = (deny(nr, 5) for nr in (101, 102, 103))


class Thread:
    """A frozen thread, as far as Filters look at one."""

    def __init__(self, *filters: tuple[bytes, int], mode: int = 2) -> None:
        self.pid = 7
        self.core = Schema().message("thread_core_entry")()
        self.filters = filters
        self.status = {"Seccomp": str(mode), "Seccomp_filters": str(len(filters))}

    def seccomp_filter(self, index: int) -> tuple[bytes, int]:
        return self.filters[index]


def plain(mode: int = 0) -> Thread:
    return Thread(mode=mode)


def collected(*processes: list[Thread]) -> Any:
    filters = seccomp.Filters(Schema().message)
    for pid, threads in enumerate(processes):
        for thread in threads:
            filters.collect(pid, thread.core, thread, thread.status)  # type: ignore[arg-type]
    return filters.entry()


def process(entry: Any, *threads: Thread, tc: Any = None) -> seccomp.Process:
    names = [f"core-{i}.img" for i in range(len(threads))]
    tc = tc or Schema().message("task_core_entry")()
    return seccomp.Process(entry, tc, [t.core for t in threads], names)


def entry_of(*filters: tuple[bytes, int | None, int]) -> Any:
    entry = Schema().message("seccomp_entry")()
    for text, prev, flags in filters:
        entry.seccomp_filters.add(filter=text, flags=flags, **({} if prev is None else {"prev": prev}))
    return entry


def test_layout_of_the_image_is_criu_s() -> None:
    """The newest filter first; `prev` leads from older to newer; TSYNC and one mode where all threads agree."""
    one, two = Thread((A, 0), (B, LOG), (C, 0)), Thread((A, 0), (B, LOG), (C, 0))
    entry = collected([one, two])
    assert [(f.filter, f.prev if f.HasField("prev") else None, f.flags) for f in entry.seccomp_filters] == [
        (C, None, TSYNC),
        (B, 0, TSYNC | LOG),
        (A, 1, TSYNC),
    ]
    assert (one.core.seccomp_mode, one.core.seccomp_filter) == (2, 2)
    assert not two.core.HasField("seccomp_mode")
    assert not two.core.HasField("seccomp_filter")
    back = process(entry, one, two)
    assert back.chains == [((A, 0), (B, LOG), (C, 0))] * 2
    assert back.common == 3
    assert back.needed


def test_threads_that_differ_each_have_their_own() -> None:
    threads = [plain(), Thread((A, 0)), Thread((A, 0), (B, LOG)), plain(mode=1)]
    entry = collected(threads)
    assert [f.flags for f in entry.seccomp_filters] == [0, LOG, 0]
    assert [t.core.HasField("seccomp_mode") for t in threads] == [False, True, True, True]
    assert threads[3].core.seccomp_mode == 1
    assert not threads[3].core.HasField("seccomp_filter")
    back = process(entry, *threads)
    assert back.modes == [0, 2, 2, 1]
    assert back.chains == [(), ((A, 0),), ((A, 0), (B, LOG)), ()]
    assert back.common == 0
    assert back.apart()


def test_the_same_filters_are_stored_once() -> None:
    processes = [[Thread((A, 0), (B, 0))], [Thread((A, 0), (B, 0))], [Thread((B, 0))]]
    entry = collected(*processes)
    assert len(entry.seccomp_filters) == 3
    assert [p[0].core.seccomp_filter for p in processes] == [1, 1, 2]


def test_nothing_where_there_is_no_seccomp() -> None:
    thread = plain()
    entry = collected([thread])
    assert not entry.seccomp_filters
    assert not thread.core.HasField("seccomp_mode")
    assert not process(entry, thread).needed


@pytest.mark.parametrize(
    ("chains", "count", "apart"),
    [
        ([(A, B)], 2, False),
        ([(A, B), (A, C)], 1, False),
        ([(A, B), (A,), (A, B, C)], 1, True),
        ([(A, B), (A, B, C)], 2, False),
        ([(), (A,)], 0, False),
        ([(A,), (B,)], 0, False),
        ([(), (A,), (A, B)], 0, True),
    ],
)
def test_what_threads_have_in_common(chains: list[tuple[bytes, ...]], count: int, apart: bool) -> None:
    threads = [Thread(*((text, 0) for text in chain), mode=2 if chain else 0) for chain in chains]
    back = process(collected(threads), *threads)
    assert back.common == count
    assert back.apart() == apart


def test_a_filter_with_another_flag_is_another_one() -> None:
    threads = [Thread((A, 0)), Thread((A, LOG))]
    assert process(collected(threads), *threads).common == 0


def test_mode_of_an_older_criu_is_that_of_all_threads() -> None:
    tc = Schema().message("task_core_entry")(old_seccomp_mode=2, old_seccomp_filter=0)
    back = process(entry_of((A, None, 0)), plain(), plain(), tc=tc)
    assert (back.modes, back.common) == ([2, 2], 1)


@pytest.mark.parametrize(
    ("filters", "index", "what"),
    [
        ([], 0, "no filter 0 (core-0.img: seccomp_filter), only 0"),
        ([(A, None, 0)], 1, "no filter 1 (core-0.img: seccomp_filter), only 1"),
        ([(A, 7, 0)], 0, "no filter 7 (filter 0: prev), only 1"),
        ([(A, 0, 0)], 0, "the filters from 0 on follow each other in a circle"),
        ([(A, 1, 0), (B, 0, 0)], 1, "the filters from 1 on follow each other in a circle"),
        ([(b"", None, 0)], 0, "filter 0 has 0 bytes of code"),
        ([(A[:-1], None, 0)], 0, "filter 0 has 31 bytes of code"),
        ([(A * 1025, None, 0)], 0, "filter 0 has 32800 bytes of code"),
        ([(A, None, 8)], 0, "filter 0 has flags 0x8"),
        ([(A, None, 0)], None, "seccomp_filter is missing"),
    ],
)
def test_bad_images(filters: list[tuple[bytes, int | None, int]], index: int | None, what: str) -> None:
    thread = plain()
    thread.core.seccomp_mode = 2
    if index is not None:
        thread.core.seccomp_filter = index
    with pytest.raises(BadImage) as error:
        process(entry_of(*filters), thread)
    assert what in str(error.value)
    assert error.value.name == ("seccomp.img" if index is not None else "core-0.img")


def test_what_may_ask_a_listener() -> None:
    assert not seccomp.may_notify(A)
    assert not seccomp.may_notify(code(1, 0x80000000))
    assert seccomp.may_notify(code(1, 0x7FC00000))
    assert seccomp.may_notify(code(1, 0x7FC00001))
    assert seccomp.may_notify(struct.pack("<HBBI", 0x16, 0, 0, 0))


@pytest.mark.parametrize(
    ("number", "what"),
    [(errno.EACCES, "must not run under seccomp itself"), (errno.EMEDIUMTYPE, "not classic BPF")],
)
def test_unreadable_filter_says_why(number: int, what: str) -> None:
    class Opaque(Thread):
        def seccomp_filter(self, index: int) -> tuple[bytes, int]:
            raise KernelError(f"ptrace(PTRACE_SECCOMP_GET_FILTER, 7, {index})", number)

    with pytest.raises(KernelError, match=rf"GET_FILTER, 7, 0\).*{what}"):
        collected([Opaque((A, 0))])


# Live threads


@contextmanager
def stopped(pid: int) -> Iterator[list[Tracee]]:
    with ExitStack() as stack:
        tracees = []
        for tid in sorted(proc.threads(pid)):
            tracee = Tracee(tid)
            tracee.seize(pt.PTRACE_O_SUSPEND_SECCOMP)
            tracee.interrupt()
            tracee.wait_event_stop()
            stack.callback(tracee.detach)
            tracees.append(tracee)
        yield tracees


def look(pid: int) -> tuple[Any, list[Any]]:
    filters = seccomp.Filters(Schema().message)
    cores = []
    with stopped(pid) as tracees:
        for tracee in tracees:
            cores.append(Schema().message("thread_core_entry")())
            filters.collect(pid, cores[-1], tracee, proc.status(tracee.pid))
    return filters.entry(), cores


@pytest.fixture
def filtered(c_program, start):  # type: ignore[no-untyped-def]
    def run(how: str = "") -> int:
        process = start(c_program(SOURCE, "-pthread"), how)
        wait(lambda: process.log.read_bytes() == b"ready\n")
        return int(process.pid)

    return run


def test_filters_of_a_live_process(filtered) -> None:  # type: ignore[no-untyped-def]
    entry, cores = look(filtered())
    kill, log = code(101, 0x80000000), deny(111, errno.ENOTTY)
    back = seccomp.Process(entry, Schema().message("task_core_entry")(), cores, ["core"] * 4)
    assert back.chains == [((kill, 0), (log, LOG))] * 4
    assert [core.seccomp_mode for core in cores] == [2, 0, 0, 0]


def test_filters_of_threads_that_differ(filtered) -> None:  # type: ignore[no-untyped-def]
    entry, cores = look(filtered("several"))
    back = seccomp.Process(entry, Schema().message("task_core_entry")(), cores, ["core"] * 4)
    assert back.common == 2
    assert sorted(chain[2:] for chain in back.chains) == [(), *(((deny(110, i), 0),) for i in (1, 2, 3))]
    assert not back.apart()


def test_listener_is_refused_by_name(filtered) -> None:  # type: ignore[no-untyped-def]
    pid = filtered("listener")
    with pytest.raises(Unsupported, match=rf"pid {pid}: a seccomp filter leaves system calls to pid {pid} .*end that"):
        look(pid)


def test_a_filter_without_its_listener_is_like_any_other(filtered) -> None:  # type: ignore[no-untyped-def]
    entry, cores = look(filtered("notify"))
    assert len(entry.seccomp_filters) == 3
    assert cores[0].seccomp_filter == 2


@pytest.mark.parametrize("how", ["", "several"])
def test_image_is_the_peer_s(filtered, peer_criu: Path, tmp_path: Path, how: str) -> None:  # type: ignore[no-untyped-def]
    pid = filtered(how)
    done = subprocess.run([peer_criu, "dump", "-R", "-t", str(pid), "-D", tmp_path, "-o", "dump.log", "-v4"])
    assert done.returncode == 0, (tmp_path / "dump.log").read_text()
    images = Images.open(Schema(), str(tmp_path))
    entry, cores = look(pid)
    theirs = [images.read_one("CORE", tid).thread_core for tid in sorted(proc.threads(pid))]
    assert [c.HasField("seccomp_mode") for c in cores] == [c.HasField("seccomp_mode") for c in theirs]
    assert [(c.seccomp_mode, c.seccomp_filter) for c in cores] == [(c.seccomp_mode, c.seccomp_filter) for c in theirs]
    assert entry.SerializeToString() == images.read_one("SECCOMP").SerializeToString()


# Threads that install


def filters_of(tid: int) -> int:
    return int(proc.status(tid)["Seccomp_filters"])


def test_install_in_order_with_flags() -> None:
    """Of two filters that deny the same call, the later one says how."""
    got = []

    def write(program: Program) -> None:
        chain = ((deny(110, errno.ENOTTY), LOG), (deny(110, errno.EDOM), 0))
        threads = [Thread(*chain)]
        process(collected(threads), *threads).plan(program, 0, 0)
        got.append(program.ask("getppid"))

    with seeded(write) as task:
        program = task.arena.programs[0]
        assert task.state(program)[0] == abi.STATE_PARKED, program.failure(*task.state(program)[1:])
        assert task.result(program, got[0]) == -errno.EDOM
        with stopped(task.pid) as (tracee,):
            assert [tracee.seccomp_filter(i) for i in range(2)] == [
                (deny(110, errno.ENOTTY), LOG),
                (deny(110, errno.EDOM), 0),
            ]


def test_threads_share_what_they_have_in_common() -> None:
    """The thread that has all filters of the other can spread one more to it: they are the same objects."""
    words: dict[str, Any] = {}

    def write(program: Program) -> None:
        arena = program.arena
        threads = [Thread((A, 0), (B, 0)), Thread((A, 0), (B, 0), (C, 0))]
        plans = process(collected(threads), *threads)
        ready, last, stack = arena.reserve(4), arena.reserve(4), arena.reserve(abi.STACK_SIZE, 16)
        other = arena.program("other")
        args = struct.pack("<11Q", THREAD, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        words["tid"] = program.spawn(arena.put(args), len(args), other)
        plans.plan(program, 0, ready)
        plans.plan(other, 1, ready)
        seccomp.install(other, ((deny(110, 9), 0),), TSYNC)
        seccomp.meet(other, last, leads=True)
        other.park()
        seccomp.meet(program, last, leads=False)
        words["ppid"] = program.ask("getppid")

    with seeded(write) as task:
        for program in task.arena.programs:
            wait(lambda program=program: task.state(program)[0] != abi.STATE_RUNNING)  # type: ignore[misc]
            assert task.state(program)[0] == abi.STATE_PARKED, program.failure(*task.state(program)[1:])
        program = task.arena.programs[0]
        assert task.result(program, words["ppid"]) == -9
        tid = task.result(program, words["tid"])
        assert [filters_of(tid) for tid in (task.pid, tid)] == [4, 4]


def test_failure_to_spread_is_a_failure() -> None:
    """TSYNC answers with the id of a thread that has other filters: not an errno, not a success."""

    def write(program: Program) -> None:
        arena = program.arena
        ready, stack = arena.reserve(4), arena.reserve(abi.STACK_SIZE, 16)
        other = arena.program("other")
        args = struct.pack("<11Q", THREAD, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        program.spawn(arena.put(args), len(args), other)
        seccomp.install(other, ((A, 0),), 0)
        seccomp.meet(other, ready, leads=True)
        other.park()
        seccomp.meet(program, ready, leads=False)
        seccomp.install(program, ((B, 0),), TSYNC)

    with seeded(write) as task:
        program = task.arena.programs[0]
        state, at, error = task.state(program)
        assert state == abi.STATE_FAILED
        assert error > 0
        assert "seccomp(1, 1, " in program.failure(at, error)


def test_strict_mode_comes_last(tmp_path: Path) -> None:
    from engine.context import built
    from engine.plan.program import Machine

    arena = Arena(Machine(built(), os.uname().machine), 1 << 32)
    program = arena.program("strict")
    threads = [plain(mode=1), Thread((A, 0))]
    plans = process(collected(threads), *threads)
    plans.plan(program, 0, arena.reserve(4))
    assert program.listing().splitlines()[1:] == ["    0  prctl(22, 1, 0, 0, 0)  # seccomp: strict mode"]
