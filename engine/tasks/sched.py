"""How a thread is scheduled: policy, nice, CPUs, timer slack, I/O priority; and what of its memory core dumps hold.

sched(7), sched_setattr(2), sched_setaffinity(2), ioprio_set(2), PR_SET_TIMERSLACK(2const), core(5). All of it can be
asked from outside, thread by thread. A restored thread begins with what the engine has, so only what differs from that
is set.
"""

from __future__ import annotations

import os
import struct

from engine.errors import EngineError, KernelError
from engine.kernel import proc
from engine.kernel.process import ioprio_get, sched_getattr
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from engine.plan.program import Ref
    from engine.tasks.questions import Questions

TIMERSLACK_NS = 50_000  # of a thread under a fair policy that nobody has changed; under a realtime one it is 0
COREDUMP_FILTER = 0x33  # MMF_DUMP_FILTER_DEFAULT, with the ELF headers that every distribution adds

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
_POLICIES = ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE", "EXT")
_FAIR = (SCHED_OTHER, SCHED_BATCH)  # whose nice value and slice are parameters of sched_setattr(2)
_REALTIME = (SCHED_FIFO, SCHED_RR, SCHED_DEADLINE)
# what sched_getscheduler(2) adds to the policy, and images have there: the flag SCHED_FLAG_RESET_ON_FORK
SCHED_RESET_ON_FORK = 0x40000000
_FLAG_RESET_ON_FORK, _FLAG_RECLAIM, _FLAG_DL_OVERRUN = 1, 2, 4
_FLAG_UTIL_CLAMP = 0x60
_ATTR = struct.Struct("<IIQiIQQQII")
_CLAMP_RESET = 0xFFFFFFFF
_CLAMP_MAX = 1024
_CPU_BITS = 1024  # the least width of a mask of all CPUs

# where a cpuset tells the CPUs that it leaves to its tasks, by how cgroups are mounted
_CPUSETS = (
    ("/sys/fs/cgroup/cpuset", "cpuset.effective_cpus"),
    ("/sys/fs/cgroup", "cpuset.cpus.effective"),
    ("/sys/fs/cgroup/unified", "cpuset.cpus.effective"),
)


def cpu_mask(cpus: Iterable[int]) -> int:
    """CPU numbers as a mask: bit N for CPU N."""
    mask = 0
    for cpu in cpus:
        mask |= 1 << cpu
    return mask


def parse_cpus(text: str) -> int:
    """The mask of a list as the kernel writes it: `0-3,8`."""
    mask = 0
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            mask |= (1 << int(last or first) + 1) - (1 << int(first))
    return mask


def cpus_text(mask: int) -> str:
    """The list of a mask, as the kernel writes it."""
    out = []
    cpu = 0
    while mask >> cpu:
        if mask >> cpu & 1:
            first = cpu
            while mask >> cpu + 1 & 1:
                cpu += 1
            out.append(str(first) if first == cpu else f"{first}-{cpu}")
        cpu += 1
    return ",".join(out)


def online() -> int:
    """The mask of the CPUs that are up."""
    return parse_cpus(proc.read_text("/sys/devices/system/cpu/online"))


class Defaults:
    """What a thread has that nobody has changed anything of, on this kernel: found once a dump."""

    __slots__ = ("_cpusets", "clamps", "online", "slice_ns")

    def __init__(self) -> None:
        own = sched_getattr(0)
        # the kernel's own slice depends on the number of CPUs, and only threads under a fair policy show theirs
        self.slice_ns: int = own[4] if own[0] in _FAIR else sched_getattr(1)[4]
        self.clamps = own[8] != 0  # a kernel without CONFIG_UCLAMP_TASK shows 0 for both
        self.online = online()
        self._cpusets: dict[str, int] = {}

    def cpus(self, tid: int) -> int:
        """The CPUs that the thread's cpuset leaves to it (cpuset(7)), or all, where that is not to be found."""
        try:
            path = proc.read_text(f"/proc/{tid}/cpuset").rstrip("\n")
        except FileNotFoundError:
            return self.online  # a kernel without cpusets
        if path not in self._cpusets:
            self._cpusets[path] = self.online
            for root, name in _CPUSETS:
                try:
                    self._cpusets[path] = parse_cpus(proc.read_text(f"{root}{path}/{name}"))
                    break
                except FileNotFoundError:
                    continue
        return self._cpusets[path]


def ask_thread(q: Questions) -> Ref:
    """The timer slack."""
    return q.ask("prctl", pr.PR_GET_TIMERSLACK, 0, 0, 0, 0)


def dump(thread: Any, tid: int, defaults: Defaults, slack: int) -> None:
    """Fill thread_core_entry: policy, nice and priority as CRIU has them, what it does not have where it is special.

    `slack` is the thread's timer slack in ns.
    """
    policy, flags, _, priority, runtime, deadline, period, util_min, util_max = sched_getattr(tid)
    thread.sched_policy = policy | (SCHED_RESET_ON_FORK if flags & _FLAG_RESET_ON_FORK else 0)
    # under a realtime policy too: it comes back when the thread leaves that
    thread.sched_nice = os.getpriority(os.PRIO_PROCESS, tid)
    if priority:
        thread.sched_prio = priority
    if flags & ~_FLAG_RESET_ON_FORK:
        thread.sched_flags = flags & ~_FLAG_RESET_ON_FORK
    if policy == SCHED_DEADLINE:
        thread.sched_runtime, thread.sched_deadline, thread.sched_period = runtime, deadline, period
    elif runtime and runtime != defaults.slice_ns:
        thread.sched_runtime = runtime
    # realtime threads that nobody has changed are clamped to the highest from below
    usual = (_CLAMP_MAX if policy in (SCHED_FIFO, SCHED_RR) else 0, _CLAMP_MAX)
    if defaults.clamps and (util_min, util_max) != usual:
        thread.sched_util_min, thread.sched_util_max = util_min, util_max
    mask = cpu_mask(os.sched_getaffinity(tid))
    if mask != defaults.online and mask != defaults.cpus(tid) & defaults.online:
        while mask:
            thread.affinity.append(mask & 0xFFFFFFFFFFFFFFFF)
            mask >>= 64
    if ioprio := ioprio_get(tid):
        thread.ioprio = ioprio
    if policy not in _REALTIME and slack != TIMERSLACK_NS:
        thread.timerslack_ns = slack


def dump_coredump_filter(mm: Any, pid: int) -> None:
    """Fill mm_entry.coredump_filter where it is not the default."""
    value = int(proc.read_text(f"/proc/{pid}/coredump_filter"), 16)
    if value != COREDUMP_FILTER:
        mm.coredump_filter = value


class Inherited:
    """What every thread has at the start of its program: the engine's own, as fork(2) and execve(2) pass it on."""

    __slots__ = ("affinity", "at_hand", "attr", "clamps", "coredump_filter", "ioprio", "slack_ns")

    def __init__(self) -> None:
        policy, flags, _, priority, _, _, _, util_min, util_max = sched_getattr(0)
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        if flags & _FLAG_RESET_ON_FORK:
            policy, nice, priority = (SCHED_OTHER, 0, 0) if policy in _REALTIME else (policy, max(nice, 0), priority)
            util_min, util_max = 0, min(util_max, 1) * _CLAMP_MAX
        # policy (with SCHED_RESET_ON_FORK), nice, priority, deadline flags
        self.attr = (policy, nice, priority, 0)
        self.clamps: tuple[int, int] | None = (util_min, util_max) if util_max else None
        self.affinity = cpu_mask(os.sched_getaffinity(0))
        self.at_hand = self._at_hand()
        self.ioprio = ioprio_get(0)
        self.slack_ns = int(proc.read_text("/proc/self/timerslack_ns"))
        self.coredump_filter = int(proc.read_text("/proc/self/coredump_filter"), 16)

    @classmethod
    def of(cls, thread: Any, maker: Inherited) -> Inherited:
        """What a thread begins with that is made by one scheduled as `thread` (thread_core), which began as `maker`."""
        own = cls.__new__(cls)
        for name in cls.__slots__:
            setattr(own, name, getattr(maker, name))
        if thread.HasField("sched_policy"):
            own.attr = (thread.sched_policy, thread.sched_nice, thread.sched_prio, thread.sched_flags)
        if maker.clamps is not None and thread.HasField("sched_util_max"):
            own.clamps = (thread.sched_util_min, thread.sched_util_max)
        if thread.affinity:
            mask = sum(word << 64 * i for i, word in enumerate(thread.affinity))
            own.affinity = mask & own.at_hand or own.at_hand
        else:
            own.affinity = own.at_hand
        own.ioprio = thread.ioprio
        own.slack_ns = thread.timerslack_ns if thread.HasField("timerslack_ns") else TIMERSLACK_NS
        return own

    def _at_hand(self) -> int:
        """The CPUs that our cpuset leaves to us: what is left when we ask for all."""
        everything = online()
        if self.affinity == everything:
            return everything
        own = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, [cpu for cpu in range(everything.bit_length()) if everything >> cpu & 1])
        except OSError as e:
            raise KernelError(f"sched_setaffinity({cpus_text(everything)})", e.errno or 0) from e
        try:
            return cpu_mask(os.sched_getaffinity(0))
        finally:
            os.sched_setaffinity(0, own)


def plan(program: Program, thread: Any, inherited: Inherited, warn: Callable[[str], None]) -> None:
    """Set what differs from what the thread begins with; it needs CAP_SYS_NICE, so it comes before credentials.

    CPUs come before the policy: SCHED_DEADLINE is given only to threads that may run on all, and cannot lose one then.
    Threads and children are made before: SCHED_DEADLINE has none, and RESET_ON_FORK changes what they get.
    """
    _affinity(program, thread, inherited, warn)
    policy = inherited.attr[0]
    if thread.HasField("sched_policy"):
        policy = thread.sched_policy & ~SCHED_RESET_ON_FORK
        _policy(program, thread, inherited, warn)
    if policy not in _REALTIME:
        slack = thread.timerslack_ns if thread.HasField("timerslack_ns") else TIMERSLACK_NS
        if slack != inherited.slack_ns:
            # 0 is what a realtime thread's child gets, and asks for the default here
            program.sys("prctl", pr.PR_SET_TIMERSLACK, max(slack, 1), 0, 0, 0, note=f"timer slack {slack} ns")
    if thread.ioprio != inherited.ioprio:
        note = f"I/O priority class {thread.ioprio >> 13}, level {thread.ioprio & 7}"
        program.sys("ioprio_set", 1, 0, thread.ioprio, note=note)


def _affinity(program: Program, thread: Any, inherited: Inherited, warn: Callable[[str], None]) -> None:
    at_hand = inherited.at_hand
    everything = (1 << max(_CPU_BITS, (at_hand.bit_length() + 63) & ~63)) - 1
    mask = everything
    if thread.affinity:
        mask = sum(word << 64 * i for i, word in enumerate(thread.affinity))
        if not mask & at_hand:
            warn(
                f"{program.name}: none of the CPUs {cpus_text(mask)} that it was bound to is at hand: "
                f"it may run on all of {cpus_text(at_hand)}"
            )
            mask = everything
        elif lost := mask & ~at_hand:
            warn(
                f"{program.name}: of the CPUs {cpus_text(mask)} that it was bound to, {cpus_text(lost)} are not at "
                f"hand: it may run on {cpus_text(mask & at_hand)}"
            )
    if mask & at_hand == inherited.affinity:
        return
    # unmasked: the kernel takes what is there, and remembers the rest for when its cpuset grows
    raw = mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")
    note = "all CPUs" if mask == everything else f"CPUs {cpus_text(mask)}"
    program.sys("sched_setaffinity", 0, len(raw), program.arena.put(raw), note=note)


def _policy(program: Program, thread: Any, inherited: Inherited, warn: Callable[[str], None]) -> None:
    policy = thread.sched_policy & ~SCHED_RESET_ON_FORK
    clamps = _clamps(program, thread, inherited, warn)
    if policy == SCHED_DEADLINE and not thread.sched_runtime:
        raise EngineError(
            f"{program.name}: it was scheduled by SCHED_DEADLINE, but the images do not say with what runtime (CRIU's "
            "do not): dump it with this engine, or under another policy"
        )
    wanted = (thread.sched_policy, thread.sched_nice, thread.sched_prio, thread.sched_flags)
    runtime = thread.sched_runtime
    if wanted == inherited.attr and clamps is None and not runtime:
        return
    if policy not in _FAIR:
        if thread.sched_nice != inherited.attr[1]:
            program.sys("setpriority", 0, 0, thread.sched_nice, note=f"nice {thread.sched_nice}, under no fair policy")
        if runtime and policy != SCHED_DEADLINE:
            # SCHED_IDLE has a slice, but takes none: it keeps that of the policy before
            _setattr(program, SCHED_OTHER, 0, thread.sched_nice, 0, (runtime, 0, 0), (0, 0))
    flags = thread.sched_flags & (_FLAG_RECLAIM | _FLAG_DL_OVERRUN)
    if thread.sched_policy & SCHED_RESET_ON_FORK:
        flags |= _FLAG_RESET_ON_FORK
    if clamps is not None:
        flags |= _FLAG_UTIL_CLAMP
    times = (runtime, thread.sched_deadline, thread.sched_period)
    _setattr(program, policy, flags, thread.sched_nice, thread.sched_prio, times, clamps or (0, 0))


def _setattr(
    program: Program,
    policy: int,
    flags: int,
    nice: int,
    priority: int,
    times: tuple[int, int, int],
    clamps: tuple[int, int],
) -> None:
    size = _ATTR.size if flags & _FLAG_UTIL_CLAMP else _ATTR.size - 8
    raw = _ATTR.pack(size, policy, flags, nice, priority, *times, *clamps)
    note = f"SCHED_{_POLICIES[policy] if policy < len(_POLICIES) else policy}"
    note += f" {priority}" if priority else f", nice {nice}"
    if times[0]:
        note += ", {}/{}/{} ns".format(*times) if policy == SCHED_DEADLINE else f", slice {times[0]} ns"
    if flags & _FLAG_RESET_ON_FORK:
        note += ", reset on fork"
    program.sys("sched_setattr", 0, program.arena.put(raw[:size]), 0, note=note)


def _clamps(program: Program, thread: Any, inherited: Inherited, warn: Callable[[str], None]) -> tuple[int, int] | None:
    """The utilization clamps to set: none where they are as they should be."""
    wanted = (thread.sched_util_min, thread.sched_util_max) if thread.HasField("sched_util_max") else None
    if inherited.clamps is None:
        if wanted is not None:
            warn(f"{program.name}: this kernel has no utilization clamps (CONFIG_UCLAMP_TASK): {wanted} are lost")
        return None
    if wanted is None:
        return None if inherited.clamps == (0, _CLAMP_MAX) else (_CLAMP_RESET, _CLAMP_RESET)
    return None if wanted == inherited.clamps else wanted


def restore_coredump_filter(mm: Any, pid: int, inherited: Inherited) -> None:
    """Write /proc/PID/coredump_filter from outside, where it differs from what came with fork(2) and execve(2)."""
    wanted = mm.coredump_filter if mm.HasField("coredump_filter") else COREDUMP_FILTER
    if wanted == inherited.coredump_filter:
        return
    path = f"/proc/{pid}/coredump_filter"
    try:
        proc.write_text(path, hex(wanted))
    except OSError as e:
        raise KernelError(f"write({path}, {wanted:#x})", e.errno or 0) from e
