"""The blobs: size, shape, and that the executor does what the operations say."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from engine.context import built
from engine.plan import abi
from engine.plan.program import PAGE, Machine
from zdtm.tests.machine import BASE, seeded

HERE = Path(built()) / os.uname().machine
CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)
SIGCHLD = 17
PR_SET_MM, PR_SET_MM_MAP, PR_SET_MM_MAP_SIZE = 35, 14, 15
ARCH_MAP_VDSO_64 = 0x2003


@pytest.mark.parametrize("name", ["executor.bin", "seed"])
def test_small(name: str) -> None:
    assert 0 < (HERE / name).stat().st_size < 8192


@pytest.mark.parametrize("name", ["executor.elf", "seed.elf"])
def test_no_relocations_and_nothing_writable(name: str) -> None:
    out = subprocess.run(["readelf", "-rSW", HERE / name], capture_output=True, text=True, check=True).stdout
    assert "no relocations" in out
    assert not [line for line in out.splitlines() if " WA " in line]


def test_structures_have_the_generated_offsets() -> None:
    header = (HERE / "abi.h").read_text()
    for s in abi.STRUCTS:
        assert f"sizeof(struct {s.name}) == {s.size}" in header
        for field, at in s.offset.items():
            assert f"offsetof(struct {s.name}, {field}) == {at}" in header


def test_results_flow_from_one_operation_to_another() -> None:
    with seeded(lambda p: refs.append(p.sys("getpid")) or refs.append(p.sys("getpgid", refs[0]))) as task:  # type: ignore[func-returns-value]
        program = task.arena.programs[0]
        assert task.result(program, refs[0]) == task.pid
        assert task.result(program, refs[1]) == os.getpgid(task.pid)


refs: list = []  # type: ignore[type-arg]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    refs.clear()


def test_failure_names_operation_call_arguments_and_errno() -> None:
    def write(p) -> None:  # type: ignore[no-untyped-def]
        p.sys("getpid")
        p.sys("fchdir", 999, note="the working directory")

    with seeded(write) as task:
        program = task.arena.programs[0]
        state, at, error = task.state(program)
        assert (state, at, error) == (abi.STATE_FAILED, 1, -errno.EBADF)
        assert program.failure(at, error) == (
            "test: operation 1: fchdir(999)  # the working directory: Bad file descriptor (errno 9)"
        )


def test_unexpected_value_is_a_failure() -> None:
    with seeded(lambda p: p.sys("getpid", expect=abi.EXPECT_EQUAL, want=1)) as task:
        program = task.arena.programs[0]
        state, at, error = task.state(program)
        assert (state, at, error) == (abi.STATE_FAILED, 0, task.pid)
        assert program.failure(at, error).endswith(f"returned {task.pid:#x}, wanted 0x1")


def test_child_runs_its_own_program_on_its_own_stack() -> None:
    """A forked child shares the arena: without a stack of its own it would run on its parent's."""
    words = {}

    def write(p) -> None:  # type: ignore[no-untyped-def]
        arena = p.arena
        words["met"] = arena.reserve(4)
        child = arena.program("child")
        words["ppid"] = child.sys("getppid")
        child._add(_op(abi.OP_ADD, words["met"], 1))
        child.park()
        words["child"] = child
        stack = arena.reserve(abi.STACK_SIZE, 16)
        args = CLONE_ARGS.pack(0, 0, 0, 0, SIGCHLD, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        words["pid"] = p._add(_op(abi.OP_SPAWN, arena.put(args), len(args), child.address))
        p._add(_op(abi.OP_WAIT, words["met"], 1))

    with seeded(write) as task:
        program = task.arena.programs[0]
        assert task.state(program)[0] == abi.STATE_PARKED
        assert task.word(words["met"]) == 1
        child = task.result(program, words["pid"])
        assert child > 1
        assert task.result(words["child"], words["ppid"]) == task.pid
        os.kill(child, 9)


def _op(code: int, *args: int):  # type: ignore[no-untyped-def]
    from engine.plan.program import Operation

    return Operation(code, "op", args, abi.EXPECT_OK, 0, "")


def test_parked_task_ends_when_the_coordinator_dies() -> None:
    """The keeper: no timeout, no polling, no descriptor; the kernel tells (set_robust_list(2))."""
    read, write = os.pipe()
    if os.fork() == 0:
        with seeded(lambda p: p.sys("prctl", 1, 0, 0, 0, 0, note="no PR_SET_PDEATHSIG")) as task:
            os.write(write, str(task.pid).encode())
            os.kill(os.getpid(), 9)
    os.close(write)
    pid = int(os.read(read, 32))
    os.wait()
    end = time.monotonic() + 2
    while _runs(pid):
        assert time.monotonic() < end
        time.sleep(0.002)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_old_mappings_are_in_the_way() -> None:
    """Why a program begins with unmapping all but the arena: the seed's text, and its vdso."""

    def write(p) -> None:  # type: ignore[no-untyped-def]
        arena, top = p.arena, 0x7FFFFFFFF000
        exe = p.sys("openat", -100, arena.text("/bin/true"), 0)
        mm = struct.Struct("<12QII")
        low = 0x10000

        # struct prctl_mm_map: any addresses in order will do
        def set_exe():  # type: ignore[no-untyped-def]
            room = arena.put(mm.pack(low, low + 1, low, low + 1, low, low, BASE, BASE, BASE, BASE, BASE, 0, 0, 3))
            return p.ask("prctl", PR_SET_MM, PR_SET_MM_MAP, room, mm.size, 0)

        p.sys("dup3", exe, 7, 0)
        p.sys("close_range", 3, 6, 0)
        p.sys("fcntl", 7, 0, 3)
        refs.append(set_exe())
        refs.append(p.ask("arch_prctl", ARCH_MAP_VDSO_64, 0x20000000))
        p.sys("munmap", PAGE, arena.base - PAGE)
        p.sys("munmap", arena.base + (1 << 20), top - arena.base - (1 << 20))
        p.sys("mmap", low, PAGE, 3, 0x22 | 0x10, -1, 0)
        refs.append(set_exe())
        refs.append(p.ask("arch_prctl", ARCH_MAP_VDSO_64, 0x20000000))

    with seeded(write) as task:
        program = task.arena.programs[0]
        assert task.state(program)[0] == abi.STATE_PARKED, program.failure(*task.state(program)[1:])
        results = [task.result(program, r) for r in refs]
        assert results[:2] == [-errno.EBUSY, -errno.EEXIST]
        assert results[2] == 0
        assert results[3] > 0


def test_unknown_system_call_is_refused_at_compile_time() -> None:
    with pytest.raises(KeyError, match="no_such_call"):
        seeded(lambda p: p.sys("no_such_call")).__enter__()


def test_machine_of_another_architecture_is_an_error() -> None:
    with pytest.raises(OSError, match="vax"):
        Machine(built(), "vax")
