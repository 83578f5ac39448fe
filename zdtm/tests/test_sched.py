"""Scheduling attributes: what a thread has is dumped, and the calls planned from that bring it back.

The calls of a plan are made here by a child, in the order and with the bytes of the program: no other part of the
engine takes part.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import pytest

from engine.arch import this_machine
from engine.context import Schema, built
from engine.kernel import proc
from engine.kernel.process import ioprio_get, sched_getattr
from engine.plan.program import Arena, Machine, Program
from engine.tasks import sched

BASE = 0x3000_0000_0000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
LIBC.mmap.restype = ctypes.c_void_p
PR_SET_TIMERSLACK = 29


def new_program() -> Program:
    return Arena(Machine(built(), this_machine().NAME), BASE).program("task 5")


def new_thread(**values: Any) -> Any:
    thread = Schema().message("core_entry")().thread_core
    for name, value in values.items():
        if name == "affinity":
            thread.affinity.extend(value)
        else:
            setattr(thread, name, value)
    return thread


def inherited(**values: Any) -> sched.Inherited:
    """Our own attributes, but for some of them."""
    own = sched.Inherited()
    for name, value in values.items():
        setattr(own, name, value)
    return own


def planned(thread: Any, own: sched.Inherited) -> tuple[list[str], list[str]]:
    """(the operations as text without their numbers, warnings)."""
    program = new_program()
    warnings: list[str] = []
    sched.plan(program, thread, own, warnings.append)
    return [line.split(None, 1)[1] for line in program.listing().splitlines()[1:]], warnings


def call(name: str, *args: int | bytes) -> None:
    """A system call of this machine that has to succeed."""
    raw = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in args]
    number = Machine(built(), this_machine().NAME).nr[name]
    if LIBC.syscall(ctypes.c_long(number), *raw) == -1:
        raise OSError(ctypes.get_errno(), f"{name}{args}: {os.strerror(ctypes.get_errno())}")


def run(program: Program) -> None:
    """Make the calls of a program in this process."""
    image = program.arena.image(program, 0)
    fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE
    at = LIBC.mmap(ctypes.c_void_p(BASE), ctypes.c_size_t(len(image)), 3, fixed, -1, ctypes.c_long(0))
    assert at == BASE
    ctypes.memmove(at, image, len(image))
    for op in program.operations:
        call(op.name, *op.args)  # type: ignore[arg-type]


def in_child(do: Callable[[], None]) -> tuple[Any, tuple[Any, ...]]:
    """(what dump() writes of a child that has done something, what the kernel shows of it)."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # plain, whoever runs the tests
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            setattr_call(sched.SCHED_OTHER)
            do()
            os.write(ready[1], b"ok")
        except BaseException as e:
            os.write(ready[1], repr(e).encode())
        finally:
            os.close(go[1])
            os.read(go[0], 1)
            os._exit(0)
    try:
        answer = os.read(ready[0], 4096)
        assert answer == b"ok", answer.decode()
        thread = new_thread()
        with open(f"/proc/{pid}/timerslack_ns") as file:
            slack = int(file.read())
        sched.dump(thread, pid, sched.Defaults(), slack)
        slack = proc.read_text(f"/proc/{pid}/timerslack_ns")
        shown = (sched_getattr(pid), os.getpriority(os.PRIO_PROCESS, pid), ioprio_get(pid), slack)
        return thread, (*shown, os.sched_getaffinity(pid))
    finally:
        for fd in (*go, *ready):
            os.close(fd)
        os.waitpid(pid, 0)


def setattr_call(policy: int, flags: int = 0, nice: int = 0, priority: int = 0, *times: int) -> None:
    raw = sched._ATTR.pack(48, policy, flags, nice, priority, *(times or (0, 0, 0)), 0, 0)
    call("sched_setattr", 0, raw[:48], 0)


def idle_with_slice() -> None:
    setattr_call(sched.SCHED_OTHER, 0, 4, 0, 7_000_000, 0, 0)
    setattr_call(sched.SCHED_IDLE)


def fifo_with_nice() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -7)
    setattr_call(sched.SCHED_FIFO, 0, 0, 13)


def several() -> None:
    setattr_call(sched.SCHED_BATCH, 1, 11)
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    call("ioprio_set", 1, 0, 2 << 13 | 6)
    call("prctl", PR_SET_TIMERSLACK, 123_456, 0, 0, 0)


MS = 1_000_000
CHANGES: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -3),
    "batch": lambda: setattr_call(sched.SCHED_BATCH, 0, 5),
    "slice": lambda: setattr_call(sched.SCHED_OTHER, 0, 0, 0, 3 * MS, 0, 0),
    "idle": lambda: setattr_call(sched.SCHED_IDLE),
    "idle with nice and slice": idle_with_slice,
    "fifo with nice": fifo_with_nice,
    "rr, reset on fork": lambda: setattr_call(sched.SCHED_RR, 1, 0, 99),
    "deadline": lambda: setattr_call(sched.SCHED_DEADLINE, 0, 0, 0, 2 * MS, 30 * MS, 100 * MS),
    "deadline with flags": lambda: setattr_call(sched.SCHED_DEADLINE, 7, 0, 0, 2 * MS, 40 * MS, 50 * MS),
    "several": several,
}


@pytest.mark.parametrize("change", CHANGES)
def test_there_and_back(change: str) -> None:
    """A second process becomes what the first was."""
    thread, shown = in_child(CHANGES[change])

    def become() -> None:
        program = new_program()
        sched.plan(program, thread, sched.Inherited(), pytest.fail)
        run(program)

    again, shown_again = in_child(become)
    assert shown_again == shown
    assert again.SerializePartialToString() == thread.SerializePartialToString()


def test_of_another_engine() -> None:
    """The engine has unusual attributes itself: a plain task does not keep them, and its own are right as well."""
    plain, shown_plain = in_child(lambda: None)
    fifo, shown_fifo = in_child(fifo_with_nice)

    for thread, shown in ((plain, shown_plain), (fifo, shown_fifo)):

        def become(thread: Any = thread) -> None:
            several()
            setattr_call(sched.SCHED_BATCH, 0, 11)  # without RESET_ON_FORK: as if forked
            program = new_program()
            sched.plan(program, thread, sched.Inherited(), pytest.fail)
            run(program)

        again, shown_again = in_child(become)
        assert shown_again == shown
        assert again.SerializePartialToString() == thread.SerializePartialToString()


@pytest.mark.parametrize(
    ("policy", "nice", "priority"), [(sched.SCHED_BATCH, -4, 0), (sched.SCHED_BATCH, 9, 0), (sched.SCHED_RR, 9, 6)]
)
def test_inherited_through_reset_on_fork(policy: int, nice: int, priority: int) -> None:
    """What Inherited expects of a child is what the child has."""
    result: list[bytes] = []
    read, write = os.pipe()

    def fork_and_compare() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        setattr_call(policy, 1, nice, priority)
        expected = sched.Inherited()
        child = os.fork()
        if child == 0:
            mine = sched.Inherited()
            os.write(write, repr((mine.attr, mine.slack_ns, mine.ioprio, mine.affinity)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        result.append(os.read(read, 1000))
        assert result[0].decode() == repr((expected.attr, expected.slack_ns, expected.ioprio, expected.affinity))

    in_child(fork_and_compare)
    os.close(read)
    os.close(write)


def test_images_of_plain_tasks_are_as_before() -> None:
    thread, _ = in_child(lambda: None)
    assert {field.name for field, _ in thread.ListFields()} == {"sched_nice", "sched_policy"}


def test_realtime_as_criu_has_it() -> None:
    """RESET_ON_FORK is part of the policy, nice is what it will be without the policy, the rest is left out."""
    thread, _ = in_child(CHANGES["rr, reset on fork"])
    assert (thread.sched_policy, thread.sched_nice, thread.sched_prio) == (0x40000002, 0, 99)
    assert {field.name for field, _ in thread.ListFields()} == {"sched_nice", "sched_policy", "sched_prio"}
    thread, _ = in_child(fifo_with_nice)
    assert (thread.sched_policy, thread.sched_nice, thread.sched_prio) == (1, -7, 13)


def test_nothing_is_planned_for_a_plain_task() -> None:
    own = inherited(attr=(0, 0, 0, 0), slack_ns=50_000, ioprio=0, affinity=3, at_hand=3, clamps=None)
    assert planned(new_thread(sched_policy=0, sched_nice=0), own) == ([], [])


def test_an_old_image_has_no_policy() -> None:
    own = inherited(attr=(0, 5, 0, 0), slack_ns=50_000, ioprio=0, affinity=3, at_hand=3, clamps=None)
    assert planned(new_thread(), own) == ([], [])


def test_some_cpus_are_gone() -> None:
    own = inherited(affinity=0b11, at_hand=0b11)
    operations, warnings = planned(new_thread(affinity=[0b1110]), own)
    assert next(line for line in operations if "affinity" in line).startswith("sched_setaffinity(0, 8, ")
    assert warnings == ["task 5: of the CPUs 1-3 that it was bound to, 2-3 are not at hand: it may run on 1"]


def test_all_cpus_are_gone() -> None:
    own = inherited(affinity=0b11, at_hand=0b11)
    operations, warnings = planned(new_thread(affinity=[0, 1 << 6]), own)
    assert not [line for line in operations if "affinity" in line]
    assert warnings == ["task 5: none of the CPUs 70 that it was bound to is at hand: it may run on all of 0-1"]


def test_engine_is_bound_to_a_cpu() -> None:
    """A task that was bound to nothing may run everywhere; one that was bound to the same CPU needs no call."""
    own = inherited(affinity=0b01, at_hand=0b11)
    operations, _ = planned(new_thread(), own)
    assert next(line for line in operations if "affinity" in line).endswith("# all CPUs")
    operations, warnings = planned(new_thread(affinity=[1]), own)
    assert not [line for line in operations if "affinity" in line]
    assert not warnings


def test_cpus_at_hand_are_found_by_an_engine_bound_to_one() -> None:
    """And the engine stays bound."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("this machine has one CPU")
    try:
        os.sched_setaffinity(0, [min(before)])
        own = sched.Inherited()
        assert (own.affinity, own.at_hand) == (1 << min(before), sched.cpu_mask(before))
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_order_of_the_calls() -> None:
    """CPUs before the policy, nice before a policy that hides it; a timer slack is of fair policies only."""
    own = inherited(attr=(0, 0, 0, 0), slack_ns=60_000, ioprio=0, affinity=1, at_hand=3, clamps=None)
    deadline = new_thread(sched_policy=6, sched_nice=4, sched_runtime=1, sched_deadline=2, sched_period=3, ioprio=9)
    operations, _ = planned(deadline, own)
    names = [line.partition("(")[0] for line in operations]
    assert names == ["sched_setaffinity", "setpriority", "sched_setattr", "ioprio_set"]
    operations, _ = planned(new_thread(sched_policy=0, sched_nice=0), own)
    assert [line.partition("(")[0] for line in operations] == ["sched_setaffinity", "prctl"]


def test_clamps() -> None:
    """Utilization clamps are set where the kernel has them, and lost with a warning where it does not."""
    clamped = new_thread(sched_policy=0, sched_nice=0, sched_util_min=100, sched_util_max=200)
    usual = {"attr": (0, 0, 0, 0), "slack_ns": 50_000, "ioprio": 0, "affinity": 3, "at_hand": 3}
    operations, warnings = planned(clamped, inherited(clamps=None, **usual))
    assert operations == []
    assert warnings == ["task 5: this kernel has no utilization clamps (CONFIG_UCLAMP_TASK): (100, 200) are lost"]
    for own, needed in (((0, 1024), True), ((100, 200), False)):
        operations, warnings = planned(clamped, inherited(clamps=own, **usual))
        assert (bool(operations), warnings) == (needed, [])
    operations, _ = planned(new_thread(sched_policy=0, sched_nice=0), inherited(clamps=(1, 2), **usual))
    assert len(operations) == 1


@pytest.mark.parametrize("text", ["0", "0-1", "0-3,8", "5,7-9,64-130", ""])
def test_cpu_lists(text: str) -> None:
    assert sched.cpus_text(sched.parse_cpus(text)) == text


def test_a_cpuset_is_no_affinity(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A task that only its cpuset keeps from some CPUs is not bound."""
    root, parent = "/sys/fs/cgroup/cpuset", proc.read_text("/proc/self/cpuset").strip()
    if not os.path.exists(f"{root}{parent}/cpuset.effective_cpus"):
        pytest.skip("only for machines with cgroup v1 cpusets")
    path = f"{root}{parent.rstrip('/')}/{tmp_path_factory.mktemp('cpuset').name}-{os.getpid()}"
    os.mkdir(path)
    try:
        for name, value in (("mems", None), ("cpus", str(min(os.sched_getaffinity(0))))):
            with open(f"{os.path.dirname(path)}/cpuset.{name}") as f:
                value = value or f.read()
            with open(f"{path}/cpuset.{name}", "w") as f:
                f.write(value)

        def move() -> None:
            with open(f"{path}/tasks", "w") as f:
                f.write(str(os.getpid()))

        thread, shown = in_child(move)
        assert shown[-1] == {min(os.sched_getaffinity(0))}
        assert not thread.affinity
    finally:
        os.rmdir(path)


def test_coredump_filter() -> None:
    """Dumped where it is not the default, written where it is not what the engine has."""
    mm = Schema().message("mm_entry")()
    pid = os.fork()
    if pid == 0:
        while True:
            os.sched_yield()
    try:
        sched.dump_coredump_filter(mm, pid)
        own = int(proc.read_text("/proc/self/coredump_filter"), 16)
        assert mm.HasField("coredump_filter") == (own != 0x33)
        mm.coredump_filter = 0x1A5
        sched.restore_coredump_filter(mm, pid, sched.Inherited())
        assert int(proc.read_text(f"/proc/{pid}/coredump_filter"), 16) == 0x1A5
        mm.Clear()
        sched.dump_coredump_filter(mm, pid)
        assert mm.coredump_filter == 0x1A5
        mm.Clear()
        sched.restore_coredump_filter(mm, pid, inherited(coredump_filter=0x1A5))
        assert int(proc.read_text(f"/proc/{pid}/coredump_filter"), 16) == 0x33
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
