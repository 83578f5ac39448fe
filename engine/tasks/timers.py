"""Interval timers (setitimer(2)) and POSIX timers (timer_create(2)): what is left of each, and its interval.

What counts is what was left at the dump; a timer is started again with that. Interval timers are asked for with all
the rest. POSIX timers are listed in /proc/PID/timers; what is left of each takes a second visit, as their ids are known
for sure only when the task is frozen: `listed`, `ask_listed`, `dump_listed`.

An expiry whose signal waits in the queue belongs to its timer: the kernel counts the overruns of a periodic one from
it, and forgets it when the timer is set anew or deleted. A signal queued by rt_sigqueueinfo(2) is nobody's, so such
timers are started in the past instead, where they expire at once, and the signal in the images is left out: see
`is_own_timer_signal`. How often a timer has overrun is not known before its signal is delivered, and what
timer_getoverrun(2) says cannot be set: images have it, as CRIU's do, but both counts begin with the restored task.
"""

from __future__ import annotations

import struct
import time

from engine.blocks import suppress
from engine.errors import EngineError, KernelError
from engine.kernel import proc
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from engine.kernel.pids import Pids

_WHICH = ("real", "virt", "prof")  # ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF
_ITIMERVAL = struct.Struct("<qqqq")  # interval, value: seconds and µs each
_ITIMERSPEC = struct.Struct("<qqqq")  # the same with ns
_SIGEVENT = struct.Struct("<Qiii44x")  # sigev_value, sigev_signo, sigev_notify, sigev_notify_thread_id
_SIGINFO = struct.Struct("<i4xi4xi")  # si_signo, si_code, si_timerid
_NS = 1_000_000_000
_SI_TIMER = -2
_SIGEV_NONE, _SIGEV_THREAD_ID = 1, 4
_NOTIFY = {"signal": 0, "none": _SIGEV_NONE, "thread": 2}  # SIGEV_*, as fs/proc spells them
_TIMER_ABSTIME = 1
_PR_TIMER_CREATE_RESTORE_IDS, _IDS_OFF, _IDS_ON = 77, 0, 1  # linux/prctl.h
_CLOCK_MONOTONIC = 1
_CLOCK_OF_ALARM = {8: 0, 9: 7}  # CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM
_PER_THREAD = 4  # of a CPU clock's id (clock_getcpuclockid(3)): ~pid << 3 | _PER_THREAD | which; pid 0 is one's own
ASKED_MAX = 256  # bytes of an arena that the questions about one timer take at most
_MAX_ATTEMPTS = 1 << 14  # timers made and deleted to reach an id, where the kernel does not make it directly


class Listed:
    """One timer of /proc/PID/timers; `tid` is the thread that it tells, or 0."""

    __slots__ = ("clock", "ident", "notify", "signo", "tid", "value")

    def __init__(self, fields: dict[str, str]) -> None:
        signo, _, value = fields["signal"].partition("/")
        how, _, whom = fields["notify"].partition("/")
        kind, _, number = whom.partition(".")
        self.ident = int(fields["ID"])
        self.signo = int(signo)
        self.value = int(value, 16)
        self.tid = int(number) if kind == "tid" else 0
        self.notify = _NOTIFY[how] | (_SIGEV_THREAD_ID if self.tid else 0)
        self.clock = int(fields["ClockID"])


class Asked:
    """Where the answers about one listed timer will be."""

    __slots__ = ("got", "overrun", "room")

    def __init__(self, q: Questions, ident: int) -> None:
        self.room = q.room(_ITIMERSPEC.size)
        self.got = q.ask("timer_gettime", ident, self.room)
        self.overrun = q.ask("timer_getoverrun", ident)


def listed(pid: int, pids: Pids) -> list[Listed]:
    """The POSIX timers of a process, by ascending id (proc_pid_timers(5)); their threads as it calls them."""
    out: list[Listed] = []
    fields: dict[str, str] = {}
    for line in proc.read_text(f"/proc/{pid}/timers").splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
        if key == "ClockID":  # the last line of each
            timer = Listed(fields)
            with suppress(FileNotFoundError, ProcessLookupError):  # that thread has ended
                timer.tid = timer.tid and pids.called(pid, timer.tid)
            out.append(timer)
            fields = {}
    return sorted(out, key=lambda t: t.ident)


def blockers(timers: Iterable[Listed], threads: Collection[int], tree: Collection[int]) -> list[str]:
    """What cannot be dumped: clocks of somebody who cannot be told, or will not be there. One line each.

    `threads` are those of the timers' process, `tree` the processes that are dumped together.
    """
    return _blockers(((t.ident, t.clock, t.tid) for t in timers), threads, tree)


def image_blockers(core: Any, threads: Collection[int], tree: Collection[int]) -> list[str]:
    """The same for the timers of an image."""
    posix = core.tc.timers.posix
    rows = ((t.it_id, _clock(t), t.notify_thread_id if t.it_sigev_notify & _SIGEV_THREAD_ID else 0) for t in posix)
    return _blockers(rows, threads, tree)


def _blockers(rows: Iterable[tuple[int, int, int]], threads: Collection[int], tree: Collection[int]) -> list[str]:
    out = []
    for ident, clock, tid in rows:
        name = f"POSIX timer {ident}"
        whose = ~(clock >> 3) if clock < 0 else 0
        if tid and tid not in threads:
            out.append(f"{name}: tells thread {tid}, which has ended: delete the timer first")
        if clock >= 0:
            continue
        if clock & _PER_THREAD and not whose and len(threads) > 1:
            out.append(
                f"{name}: on CLOCK_THREAD_CPUTIME_ID of a thread that the kernel does not name: "
                "create it with the clock of pthread_getcpuclockid(3)"
            )
        elif clock & _PER_THREAD and whose and whose not in threads:
            out.append(f"{name}: on the CPU clock of thread {whose}, which has ended: delete the timer first")
        elif not clock & _PER_THREAD and whose and whose not in tree:
            out.append(f"{name}: on the CPU clock of process {whose}, which is not in the tree: dump both together")
    return out


def ask(q: Questions) -> list[int]:
    """The three interval timers."""
    rooms = []
    for which in range(len(_WHICH)):
        rooms.append(q.room(_ITIMERVAL.size))
        q.ask("getitimer", which, rooms[which])
    return rooms


def ask_listed(q: Questions, timers: list[Listed]) -> list[Asked]:
    """What is left of each POSIX timer, and its overruns."""
    return [Asked(q, t.ident) for t in timers]


def dump(core: Any, q: Answers, rooms: list[int]) -> None:
    """Fill core_entry.tc.timers, but for POSIX timers."""
    for name, room in zip(_WHICH, rooms, strict=True):
        isec, iusec, vsec, vusec = _ITIMERVAL.unpack(q.bytes(room, _ITIMERVAL.size))
        entry = getattr(core.tc.timers, name)
        entry.isec, entry.iusec, entry.vsec, entry.vusec = isec, iusec, vsec, vusec


def dump_listed(core: Any, timers: list[Listed], q: Answers, asked: list[Asked]) -> None:
    """Fill core_entry.tc.timers.posix. KernelError for a timer of which the task knows nothing."""
    for t, answers in zip(timers, asked, strict=True):
        if (error := q.result(answers.got)) < 0:
            raise KernelError(f"timer_gettime({t.ident})", -error)
        isec, insec, vsec, vnsec = _ITIMERSPEC.unpack(q.bytes(answers.room, _ITIMERSPEC.size))
        entry = core.tc.timers.posix.add(
            it_id=t.ident,
            clock_id=t.clock & 0xFFFFFFFF,
            si_signo=t.signo,
            it_sigev_notify=t.notify,
            sival_ptr=t.value,
            overrun=max(q.result(answers.overrun), 0),
            isec=isec,
            insec=insec,
            vsec=vsec,
            vnsec=vnsec,
        )
        if t.tid:
            entry.notify_thread_id = t.tid


def is_own_timer_signal(core: Any, siginfo: bytes) -> bool:
    """Is this pending signal the expiry of a timer of the task's (`core` is its leader's)? `plan` brings it back."""
    signo, code, ident = _SIGINFO.unpack_from(siginfo)
    return code == _SI_TIMER and any(
        t.it_id == ident and t.si_signo == signo and t.it_sigev_notify != _SIGEV_NONE for t in core.tc.timers.posix
    )


def plan(program: Program, core: Any, threads: Iterable[Any] = ()) -> None:
    """Make and start the timers. All threads are there, all signals blocked, and their actions set.

    `threads` are the core_entries of the other threads; their pending signals may be timers'.
    """
    for which, name in enumerate(_WHICH):
        t = getattr(core.tc.timers, name)
        left = t.vusec
        if which == 0 and (t.isec or t.iusec) and not (t.vsec or t.vusec):
            left = 1  # it has expired and goes on when its SIGALRM is delivered: let it expire once more
        if t.vsec or left or t.isec or t.iusec:
            raw = _ITIMERVAL.pack(t.isec, t.iusec, t.vsec, left)
            program.sys("setitimer", which, program.arena.put(raw), 0, note=f"{name}: {t.vsec}.{t.vusec:06} s left")
    timers = sorted(core.tc.timers.posix, key=lambda t: int(t.it_id))
    if timers:
        _plan_create(program, timers)
        pending = dict(_pending(core, threads))
        for t in timers:
            _plan_start(program, t, pending.get(t.it_id))


def _clock(t: Any) -> int:
    """The clock's id as clockid_t; the field is unsigned."""
    clock: int = t.clock_id
    return clock - (1 << 32) if clock >> 31 else clock


def _pending(core: Any, threads: Iterable[Any]) -> Iterator[tuple[int, bytes]]:
    """(timer id, siginfo) of the expiries in the task's queues."""
    queues = [core.tc.signals_s, core.thread_core.signals_p, *(t.thread_core.signals_p for t in threads)]
    for queue in queues:
        for entry in queue.signals:
            if is_own_timer_signal(core, entry.siginfo):
                yield _SIGINFO.unpack_from(entry.siginfo)[2], entry.siginfo


def _plan_create(program: Program, timers: list[Any]) -> None:
    """Timers with the ids they had: asked for where the kernel can (since Linux 6.15), else counted up to."""
    from engine.kernel.features import Features  # most tasks have no POSIX timers

    arena = program.arena
    directly = Features.load().has("timer_cr_ids")
    if directly:
        program.sys("prctl", _PR_TIMER_CREATE_RESTORE_IDS, _IDS_ON, 0, 0, 0)
    elif timers[-1].it_id >= _MAX_ATTEMPTS:
        raise EngineError(
            f"POSIX timer {timers[-1].it_id}: ids from {_MAX_ATTEMPTS} on need a kernel that makes timers "
            "with a given id: Linux 6.15 or newer"
        )
    following = 0  # the id that a new timer gets by itself
    for t in timers:
        if not directly:
            event, ident = arena.put(_SIGEVENT.pack(0, 0, _SIGEV_NONE, 0)), arena.reserve(8)
            for passed in range(following, t.it_id):
                program.sys("timer_create", _CLOCK_MONOTONIC, event, ident)
                program.sys("timer_delete", passed, note="only to have its id passed")
            following = t.it_id + 1
        tid = t.notify_thread_id if t.it_sigev_notify & _SIGEV_THREAD_ID else 0
        event = arena.put(_SIGEVENT.pack(t.sival_ptr, t.si_signo, t.it_sigev_notify, tid))
        ident = arena.put(int(t.it_id).to_bytes(8, "little"))
        program.sys("timer_create", _clock(t), event, ident, note=f"timer {t.it_id} on clock {_clock(t)}")
        if not directly:
            program.sys("timer_getoverrun", t.it_id, note="is it there, by this id?")
    if directly:
        program.sys("prctl", _PR_TIMER_CREATE_RESTORE_IDS, _IDS_OFF, 0, 0, 0)


def _plan_start(program: Program, t: Any, siginfo: bytes | None) -> None:
    """Start one timer with what was left; with `siginfo`, that of its expiry which waits in a queue."""
    left, interval = t.vsec * _NS + t.vnsec, t.isec * _NS + t.insec
    start, flags, note = left, 0, f"timer {t.it_id}: {left} ns left"
    # one with more left than that has been set anew since it expired, and the kernel would drop the signal
    if siginfo is not None and left <= interval:
        since = 1 if not interval or _clock(t) < 0 else _now(_clock(t)) + left - interval
        if since > 0:
            start, flags, note = since, _TIMER_ABSTIME, f"timer {t.it_id}: expired"
        else:  # before the clock began: the signal by itself
            _plan_requeue(program, t, siginfo)
    if start or interval:
        raw = _ITIMERSPEC.pack(t.isec, t.insec, start // _NS, start % _NS)
        program.sys("timer_settime", t.it_id, flags, program.arena.put(raw), 0, note=note)


def _now(clock: int) -> int:
    """A clock's time in ns. A CPU clock begins anew with the task: what expired on one did so at its beginning."""
    return time.clock_gettime_ns(_CLOCK_OF_ALARM.get(clock, clock))


def _plan_requeue(program: Program, t: Any, siginfo: bytes) -> None:
    pid: Ref = program.sys("getpid")
    info = program.arena.put(siginfo)
    if t.it_sigev_notify & _SIGEV_THREAD_ID:
        program.sys("rt_tgsigqueueinfo", pid, t.notify_thread_id, t.si_signo, info, note=f"timer {t.it_id}: expired")
    else:
        program.sys("rt_sigqueueinfo", pid, t.si_signo, info, note=f"timer {t.it_id}: expired")
