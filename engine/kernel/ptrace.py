"""ptrace(2): one frozen thread, its stops, registers and signal mask.

python-ptrace lacks SEIZE and INTERRUPT and costs 25 ms to import, hence this module.
"""

from __future__ import annotations

import errno
import os
import time

from engine.errors import Bug, EngineError, KernelError
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.seccomp import BPF_INSN_SIZE, BPF_MAXINSNS
from engine.kernel.uapi.signal import SIGTRAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

XSTATE_MAX = 16384  # bytes; larger than any CPU's NT_X86_XSTATE set
_SEIZE_US = 5000
_SEE_OFF_S, _PAUSE_S = 0.5, 0.0002
_ENDS = (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)
_ALL = 0xFFFFFFFFFFFFFFFF
_FAULTS = (4, 7, 8, 11)  # SIGILL, SIGBUS, SIGFPE, SIGSEGV: blocked while code of ours runs, so it has done that


class TaskGone(EngineError):
    """The thread died while it was being traced."""


def moving(pids: list[int]) -> set[int]:
    """Those that are in no stop of ours: that run, have ended, or are not traced."""
    its = ffi.new("int[]", pids)
    return set(its[0 : lib.zd_moving(its, len(pids))])


def see_off(tracees: list[Tracee]) -> None:
    """Those that could not be detached, as they have ended, or had not stopped yet.

    A thread that another has ended, by exit_group(2) or execve(2), before it was let go is a zombie of ours, and its
    process cannot end, or go on, until we have seen that.
    """
    end = time.monotonic() + _SEE_OFF_S
    while tracees := [tracee for tracee in tracees if not tracee.has_ended() and not tracee.is_detached()]:
        if time.monotonic() > end:
            return  # it hangs in the kernel, and is detached by our own end
        time.sleep(_PAUSE_S)


class Tracee:
    """A thread that this one traces (PTRACE_SEIZE). Times in µs; `deadline_us` bounds each wait for a stop."""

    __slots__ = ("deadline_us", "directed", "pid", "running", "signals", "status")

    def __init__(self, pid: int, deadline_us: int = 10_000_000) -> None:
        self.pid = pid
        self.deadline_us = deadline_us
        self.signals: list[int] = []  # arrived while it ran code of ours; to be sent again at the end
        self.running = False  # since we let it go on, and have not seen it stop
        self.directed = 0  # how many of these had been sent to this very thread
        self.status = ffi.new("int *")

    def _request(self, request: int, name: str, addr: int = 0, data: int = 0) -> int:
        return check(lib.zd_ptrace(request, self.pid, addr, data), f"ptrace({name}, {self.pid})")

    def seize(self, options: int) -> None:
        """PTRACE_SEIZE; KernelError EPERM when somebody else traces it, or it has ended, or may not be traced."""
        self._request(pt.PTRACE_SEIZE, "PTRACE_SEIZE", 0, options)

    def try_seize(self, options: int) -> None:
        """The same of what may execute a program just now.

        ETIMEDOUT: it does, or was not looked at for long; somebody may have to be reaped for it. It is seized or not.
        """
        check(lib.zd_seize(self.pid, options, _SEIZE_US), f"ptrace(PTRACE_SEIZE, {self.pid})")

    def interrupt(self) -> None:
        """PTRACE_INTERRUPT: ask for a stop; see wait_event_stop."""
        self._request(pt.PTRACE_INTERRUPT, "PTRACE_INTERRUPT")

    def wait_stop(self) -> int:
        """Wait for the next stop and return the status' upper part: signal | event << 8. TaskGone if it died."""
        r = lib.zd_wait(self.pid, pt.WALL, self.deadline_us, self.status)
        if r == -errno.ETIMEDOUT:
            raise KernelError(
                f"waitpid({self.pid})",
                errno.ETIMEDOUT,
                "the task does not stop; it hangs in the kernel (state D?)",
            )
        check(r, f"waitpid({self.pid})")
        return self.decode()

    def is_stopped(self) -> bool:
        """Is it in a stop, whether that has been waited for or not?"""
        return not moving([self.pid])

    def news(self) -> int:
        """A stop, or an end, that has not been waited for: what wait_stop says of stops; 0 for none."""
        news = self._peek()
        return news.si_status or -1 if news else 0

    def is_detached(self) -> bool:
        """Could it be?"""
        return int(lib.zd_ptrace(pt.PTRACE_DETACH, self.pid, 0, 0)) == 0

    def has_ended(self) -> bool:
        """It has, and is reaped then; a stop is left to be waited for. (Whatever it is told, the kernel shows both.)"""
        try:
            news = self._peek()
            if news is None or news.si_code not in _ENDS:
                return False
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | pt.WALL)
        except ChildProcessError:
            pass
        return True

    def _peek(self) -> os.waitid_result | None:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT | pt.WALL)

    def decode(self) -> int:
        """What the stop that was waited for last, or the end, was; see wait_stop."""
        self.running = False
        status: int = self.status[0]
        if status & 0xFF != 0x7F:
            how = f"signal {status & 0x7F}" if status & 0x7F else f"exit status {status >> 8 & 0xFF}"
            raise TaskGone(f"task {self.pid} died ({how}) while it was being worked on")
        return status >> 8

    def wait_event_stop(self, deliver: bool = False) -> int:
        """Wait for the stop that PTRACE_INTERRUPT or a group stop makes; returns the stop signal (SIGTRAP: none).

        A signal-delivery-stop that comes first is passed on with `deliver`, as if nobody traced; otherwise (the thread
        runs code of ours) the signal is kept in `signals`.
        """
        while True:
            stop = self.wait_stop()
            if stop >> 8 == pt.PTRACE_EVENT_STOP:
                return stop & 0xFF
            if deliver and stop >> 8 == 0:
                self._request(pt.PTRACE_CONT, "PTRACE_CONT", 0, stop)
            else:
                self._keep(stop)
                self.cont()

    def _keep(self, stop: int) -> None:
        if stop in _FAULTS:
            regs = self.general()
            raise Bug(f"task {self.pid}: signal {stop} in code of ours, registers {regs.hex()}")
        if stop >> 8 == 0 and stop != SIGTRAP | 0x80:
            self.signals.append(stop)

    def keep_going(self) -> None:
        """While the thread runs code of ours: if a signal stopped it (only SIGSTOP can), keep it and resume."""
        if lib.zd_wait(self.pid, pt.WALL, 0, self.status) == self.pid:
            self._keep(self.decode())
            self.cont()

    def cont(self, sig: int = 0) -> None:
        """PTRACE_CONT, with the signal of a signal-delivery-stop or without any."""
        self.running = True
        self._request(pt.PTRACE_CONT, "PTRACE_CONT", 0, sig)

    def to_syscall_stop(self) -> None:
        """PTRACE_SYSCALL, and wait for the next system call entry or exit (needs PTRACE_O_TRACESYSGOOD)."""
        self._request(pt.PTRACE_SYSCALL, "PTRACE_SYSCALL")
        while True:
            stop = self.wait_stop()
            if stop == SIGTRAP | 0x80:
                return
            self._keep(stop)
            self._request(pt.PTRACE_SYSCALL, "PTRACE_SYSCALL")

    def detach(self, sig: int = 0) -> None:
        """PTRACE_DETACH; sig SIGSTOP leaves it stopped. The thread must be in a stop."""
        self._request(pt.PTRACE_DETACH, "PTRACE_DETACH", 0, sig)

    def general(self) -> bytearray:
        """The general registers: struct user_regs_struct as this machine's own programs have it, whatever it runs."""
        buf = bytearray(512)
        n = check(
            lib.zd_general_get(self.pid, ffi.from_buffer(buf), len(buf)),
            f"ptrace(PTRACE_GETREGS, {self.pid})",
        )
        return buf[:n]

    def set_general(self, regs: bytes | bytearray) -> None:
        """Set all general registers; orig_rax too, so that an interrupted system call is restarted at resume."""
        check(
            lib.zd_general_set(self.pid, ffi.from_buffer(regs), len(regs)),
            f"ptrace(PTRACE_SETREGS, {self.pid})",
        )

    def extended(self, kind: int = pt.NT_X86_XSTATE) -> bytearray:
        """The extended registers in the kernel's own layout (not compacted)."""
        buf = bytearray(XSTATE_MAX)
        n = check(
            lib.zd_regset_get(self.pid, kind, ffi.from_buffer(buf), len(buf)),
            f"ptrace(PTRACE_GETREGSET, {self.pid}, {kind:#x})",
        )
        return buf[:n]

    def set_extended(self, state: bytes | bytearray, kind: int = pt.NT_X86_XSTATE) -> None:
        """Set the extended registers; a feature this CPU lacks is EINVAL."""
        check(
            lib.zd_regset_set(self.pid, kind, ffi.from_buffer(state), len(state)),
            f"ptrace(PTRACE_SETREGSET, {self.pid}, {kind:#x})",
        )

    def thread_area(self, entry: int) -> bytes:
        """One of the thread's GDT entries: struct user_desc (asm/ldt.h). x86 only."""
        buf = bytearray(16)
        check(
            lib.zd_ptrace_buf(pt.PTRACE_GET_THREAD_AREA, self.pid, entry, ffi.from_buffer(buf)),
            f"ptrace(PTRACE_GET_THREAD_AREA, {self.pid}, {entry})",
        )
        return bytes(buf)

    def set_thread_area(self, entry: int, descriptor: bytes) -> None:
        """Set one of the thread's GDT entries from a struct user_desc. x86 only."""
        check(
            lib.zd_ptrace_buf(pt.PTRACE_SET_THREAD_AREA, self.pid, entry, ffi.from_buffer(descriptor)),
            f"ptrace(PTRACE_SET_THREAD_AREA, {self.pid}, {entry})",
        )

    def sigmask(self) -> int:
        """The blocked signals, bit n-1 for signal n."""
        buf = bytearray(8)
        check(
            lib.zd_ptrace_buf(pt.PTRACE_GETSIGMASK, self.pid, 8, ffi.from_buffer(buf)),
            f"ptrace(PTRACE_GETSIGMASK, {self.pid})",
        )
        return int.from_bytes(buf, "little")

    def set_sigmask(self, mask: int) -> None:
        """Block exactly these signals."""
        buf = mask.to_bytes(8, "little")
        check(
            lib.zd_ptrace_buf(pt.PTRACE_SETSIGMASK, self.pid, 8, ffi.from_buffer(buf)),
            f"ptrace(PTRACE_SETSIGMASK, {self.pid}, {mask:#x})",
        )

    def block_all(self) -> None:
        """Block every signal, for as long as foreign code runs in the thread."""
        self.set_sigmask(_ALL)

    def pending(self, shared: bool) -> list[bytes]:
        """The queued signals (siginfo_t, 128 bytes each), oldest first: the thread's own, or the process's."""
        out: list[bytes] = []
        batch = 32
        buf = bytearray(128 * batch)
        while True:
            # struct ptrace_peeksiginfo_args: u64 off, u32 flags, s32 nr
            args = len(out).to_bytes(8, "little") + int(shared).to_bytes(4, "little") + batch.to_bytes(4, "little")
            n = check(
                lib.zd_ptrace(
                    pt.PTRACE_PEEKSIGINFO,
                    self.pid,
                    int(ffi.cast("unsigned long", ffi.from_buffer(args))),
                    int(ffi.cast("unsigned long", ffi.from_buffer(buf))),
                ),
                f"ptrace(PTRACE_PEEKSIGINFO, {self.pid})",
            )
            out += [bytes(buf[i * 128 : i * 128 + 128]) for i in range(n)]
            if n < batch:
                return out

    def rseq(self) -> tuple[int, int, int, int] | None:
        """The registered rseq area: (address, size, signature, flags), or None (PTRACE_GET_RSEQ_CONFIGURATION)."""
        buf = bytearray(24)
        check(
            lib.zd_ptrace_buf(pt.PTRACE_GET_RSEQ_CONFIGURATION, self.pid, len(buf), ffi.from_buffer(buf)),
            f"ptrace(PTRACE_GET_RSEQ_CONFIGURATION, {self.pid})",
        )
        addr = int.from_bytes(buf[0:8], "little")
        size, signature, flags = (int.from_bytes(buf[i : i + 4], "little") for i in (8, 12, 16))
        return (addr, size, signature, flags) if addr else None

    def seccomp_filter(self, index: int) -> tuple[bytes, int]:
        """(code, flags) of a seccomp filter; 0 is the oldest. The code is an array of struct sock_filter.

        KernelError EACCES without CAP_SYS_ADMIN or when this thread is under seccomp itself, EMEDIUMTYPE for code that
        is not classic BPF. Of the flags the kernel keeps SECCOMP_FILTER_FLAG_LOG only.
        """
        buf = bytearray(BPF_MAXINSNS * BPF_INSN_SIZE)
        count = check(
            lib.zd_ptrace_buf(pt.PTRACE_SECCOMP_GET_FILTER, self.pid, index, ffi.from_buffer(buf)),
            f"ptrace(PTRACE_SECCOMP_GET_FILTER, {self.pid}, {index})",
        )
        data = bytearray(index.to_bytes(8, "little") + bytes(8))  # struct seccomp_metadata: u64 filter_off, flags
        check(
            lib.zd_ptrace_buf(pt.PTRACE_SECCOMP_GET_METADATA, self.pid, len(data), ffi.from_buffer(data)),
            f"ptrace(PTRACE_SECCOMP_GET_METADATA, {self.pid}, {index})",
        )
        return bytes(buf[: count * BPF_INSN_SIZE]), int.from_bytes(data[8:], "little")


class XstateLayout:
    """Where this CPU's NT_X86_XSTATE set has its components. Asked once for each: CPUID leaves a virtual machine."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int] | None] = {}

    def __call__(self, number: int) -> tuple[int, int] | None:
        """(offset, size) in bytes of an extended state component, None if there is none."""
        if number not in self._known:
            offset, size = ffi.new("unsigned *"), ffi.new("unsigned *")
            missing = lib.zd_xstate_offset(number, offset, size) < 0
            self._known[number] = None if missing else (offset[0], size[0])
        return self._known[number]


class Visit:
    """Visits of a task's threads to its arena, one after the other: everything but the thread is the same for all.

    `mem` is a descriptor of /proc/PID/mem, `view` the arena; offsets are into that, addresses are the task's.
    """

    __slots__ = ("_kept", "_raw")

    def __init__(
        self, mem: int, view: Any, prog: bytes, offsets: dict[str, int], addresses: dict[str, int], entry: int
    ) -> None:
        raw = self._raw = ffi.new("struct zd_visit *")
        raw.mem, raw.entry = mem, entry
        raw.view = ffi.from_buffer(view)
        raw.prog, raw.prog_size = ffi.from_buffer(prog), len(prog)
        raw.prog_at, raw.state_at, raw.inside_at = offsets["prog"], offsets["state"], offsets["inside"]
        raw.home_at, raw.entry_at = addresses["home"], addresses["entry"]
        self._kept = (view, prog)

    def make(self, tracee: Tracee, home: bytes, there: bytearray, leave: bytearray, regs: Any, mask: int) -> None:
        """One thread: into the arena with the registers `there`, out with `leave`, home with `regs` and `mask`."""
        raw = self._raw
        raw.tid, raw.mask, raw.timeout = tracee.pid, mask, tracee.deadline_us
        raw.home, raw.home_size = ffi.from_buffer(home), len(home)
        raw.there, raw.leave, raw.regs = ffi.from_buffer(there), ffi.from_buffer(leave), ffi.from_buffer(regs)
        raw.regs_size = len(regs)
        r = lib.zd_visit(raw)
        tracee.signals += [raw.kept[i] for i in range(raw.nkept)]
        if r == -errno.ESRCH:
            raise TaskGone(f"task {tracee.pid} died while it was being worked on")
        check(r, f"asking thread {tracee.pid}", "the task makes no progress" if r == -errno.ETIMEDOUT else "")


def set_options(tids: list[int], options: int) -> None:
    """PTRACE_SETOPTIONS of many, as nearly at once as it can be. They must be in a stop, and stay in it, or be dead."""
    check(lib.zd_ptrace_options(tids, len(tids), options), "ptrace(PTRACE_SETOPTIONS)")
