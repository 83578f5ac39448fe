"""Seccomp (seccomp(2)): the mode of every thread, its filters, and which of them threads have in common.

In seccomp.img, as CRIU writes it, `seccomp_filter` of a thread is the index of its oldest filter, and `prev` leads from
a filter to the one that was installed next. Where all threads of a process have the same filters, only the leader has a
mode, and its filters have SECCOMP_FILTER_FLAG_TSYNC. The kernel does not tell which filters are one object in several
threads; filters with the same code at the same place count as such, which they are when one thread has inherited them.
"""

from __future__ import annotations

import errno
import os
import struct

from engine.blocks import suppress
from engine.errors import BadImage, KernelError, Unsupported
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi import seccomp as sc
from engine.plan import abi
from engine.plan.program import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.kernel import proc
    from engine.plan.program import Program

    Filter = tuple[bytes, int]  # code, flags
    Chain = tuple[Filter, ...]  # oldest first

_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter: code, jt, jf, k
_FPROG = struct.Struct("<H6xQ")  # struct sock_fprog: length in instructions, address
_IMAGE = "seccomp.img"
_KNOWN_FLAGS = sc.SECCOMP_FILTER_FLAG_TSYNC | sc.SECCOMP_FILTER_FLAG_LOG | sc.SECCOMP_FILTER_FLAG_SPEC_ALLOW
_REMEDY = {
    errno.EACCES: "the engine needs CAP_SYS_ADMIN, and must not run under seccomp itself",
    errno.EMEDIUMTYPE: "the filter is not classic BPF, and no image can hold it",
}


class Filters:
    """The filters of all tasks of a dump: `collect` for each frozen thread, then `entry`."""

    __slots__ = ("_entry", "_processes", "_stored")

    def __init__(self, message: Callable[[str], Any]) -> None:
        self._entry = message("seccomp_entry")()
        self._processes: dict[int, list[tuple[Any, int, Chain]]] = {}
        self._stored: dict[Chain, int] = {}

    def collect(self, pid: int, thread_core: Any, tracee: Tracee, status: proc.Status) -> None:
        """Read a frozen thread of process `pid`; the leader comes first, threads without seccomp come too.

        `status` is its /proc/TID/status. Raises Unsupported for a filter that asks a listener, KernelError for one that
        cannot be read.
        """
        mode = int(status.get("Seccomp", "0"))
        chain: Chain = ()
        if mode == sc.SECCOMP_MODE_FILTER:
            try:
                chain = tuple(tracee.seccomp_filter(i) for i in range(int(status["Seccomp_filters"])))
            except KernelError as e:
                raise KernelError(e.call, e.errno, _REMEDY.get(e.errno, "")) from e
            if any(may_notify(code) for code, _ in chain) and (holder := listener_holder()):
                raise Unsupported(
                    [
                        f"pid {tracee.pid}: a seccomp filter leaves system calls to pid {holder} (seccomp_unotify), "
                        "which no image can hold: end that process first"
                    ]
                )
        self._processes.setdefault(pid, []).append((thread_core, mode, chain))

    def entry(self) -> Any:
        """The seccomp_entry; fills seccomp_mode and seccomp_filter of the threads, so it comes before their images."""
        for threads in self._processes.values():
            chains = {chain for _, _, chain in threads}
            same = len(chains) == 1 and bool(threads[0][2])
            for thread_core, mode, chain in threads[:1] if same else threads:
                if mode != sc.SECCOMP_MODE_DISABLED:
                    thread_core.seccomp_mode = mode
                if chain:
                    flag = sc.SECCOMP_FILTER_FLAG_TSYNC if same else 0
                    thread_core.seccomp_filter = self._index(tuple((code, flags | flag) for code, flags in chain))
        self._processes.clear()
        return self._entry

    def _index(self, chain: Chain) -> int:
        """The index of a chain's oldest filter, stored once for all tasks that have the same."""
        if chain not in self._stored:
            filters = self._entry.seccomp_filters
            for i, (code, flags) in enumerate(reversed(chain)):
                filters.add(filter=code, flags=flags, **({"prev": len(filters) - 1} if i else {}))
            self._stored[chain] = len(filters) - 1
        return self._stored[chain]


def may_notify(code: bytes) -> bool:
    """Can a filter return SECCOMP_RET_USER_NOTIF? A result that it computes (BPF_RET | BPF_A) can be anything."""
    return any(
        op == sc.BPF_RET_A or (op == sc.BPF_RET_K and k & sc.SECCOMP_RET_ACTION_FULL == sc.SECCOMP_RET_USER_NOTIF)
        for op, _, _, k in _INSTRUCTION.iter_unpack(code)
    )


def listener_holder() -> int | None:
    """A process that holds a filter's listener. Where nobody does, such filters deny with ENOSYS (seccomp(2))."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # ended; not ours to look at
            for fd in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{fd}") == "anon_inode:seccomp notify":
                    return int(name)
    return None


class Process:
    """What the threads of one process have to install: `plan` writes it into their programs. The leader is thread 0.

    `cores` are their thread_core_entry, `names` those of their images, `tc` is the leader's task_core_entry. Raises
    BadImage.
    """

    __slots__ = ("chains", "common", "modes")

    def __init__(self, entry: Any, tc: Any, cores: list[Any], names: list[str]) -> None:
        self.modes = [int(core.seccomp_mode) for core in cores]
        indices = [core.seccomp_filter if core.HasField("seccomp_filter") else None for core in cores]
        if not any(self.modes) and tc.old_seccomp_mode:  # of an older CRIU: one for all threads
            self.modes = [int(tc.old_seccomp_mode)] * len(cores)
            indices = [tc.old_seccomp_filter] * len(cores)
        self.chains: list[Chain] = [
            chain_of(entry, index, name) if mode == sc.SECCOMP_MODE_FILTER else ()
            for mode, index, name in zip(self.modes, indices, names, strict=True)
        ]
        synced = [i for i, chain in enumerate(self.chains) if any(f & sc.SECCOMP_FILTER_FLAG_TSYNC for _, f in chain)]
        if synced and self.modes.count(0) == len(cores) - 1:
            self.modes = [self.modes[synced[0]]] * len(cores)
            self.chains = [self.chains[synced[0]]] * len(cores)
        self.chains = [tuple((code, f & ~sc.SECCOMP_FILTER_FLAG_TSYNC) for code, f in chain) for chain in self.chains]
        self.common = common(self.chains)

    @property
    def needed(self) -> bool:
        """Has any thread of the process seccomp? If not, there is nothing to plan, and nothing to suspend."""
        return any(self.modes)

    def apart(self) -> bool:
        """Do threads have filters in common that not all of them have?

        Each gets a copy of its own then: they act the same, but SECCOMP_FILTER_FLAG_TSYNC will refuse such threads.
        """
        rests = [chain[self.common :] for chain in self.chains]
        first = [rest[0] for rest in rests if rest]
        return len(set(first)) < len(first)

    def plan(self, program: Program, index: int, installed: int) -> None:
        """The operations of a thread, for when all threads of the process exist and their seccomp is suspended.

        It needs CAP_SYS_ADMIN; no thread may have no_new_privs yet, which TSYNC would spread. `installed` is the
        address of a 32-bit word of the arena, 0 at first: others wait for what the leader installs in all of them.
        """
        chain = self.chains[index]
        if self.common:
            if index == 0:
                tsync = sc.SECCOMP_FILTER_FLAG_TSYNC if len(self.chains) > 1 else 0
                install(program, chain[: self.common], tsync)
            if len(self.chains) > 1:
                meet(program, installed, leads=index == 0)
        install(program, chain[self.common :], 0)
        if self.modes[index] == sc.SECCOMP_MODE_STRICT:
            program.sys("prctl", pr.PR_SET_SECCOMP, sc.SECCOMP_MODE_STRICT, 0, 0, 0, note="seccomp: strict mode")


def chain_of(entry: Any, index: int | None, name: str) -> Chain:
    """The filters of a thread whose image `name` gives this index, oldest first. Raises BadImage."""
    filters = entry.seccomp_filters
    out: list[Filter] = []
    at = index
    where = f"{name}: seccomp_filter"
    if at is None:
        raise BadImage(name, 0, "it has seccomp filters, but seccomp_filter is missing; dump again")
    while at is not None:
        if at >= len(filters):
            raise BadImage(_IMAGE, 0, f"no filter {at} ({where}), only {len(filters)}; dump again")
        if len(out) == len(filters):
            raise BadImage(_IMAGE, 0, f"the filters from {index} on follow each other in a circle; dump again")
        f = filters[at]
        size = len(f.filter)
        if not size or size % sc.BPF_INSN_SIZE or size > sc.BPF_MAXINSNS * sc.BPF_INSN_SIZE:
            raise BadImage(_IMAGE, 0, f"filter {at} has {size} bytes of code: not 1 to 4096 instructions; dump again")
        if f.flags & ~_KNOWN_FLAGS:
            raise BadImage(_IMAGE, 0, f"filter {at} has flags {f.flags:#x}, of which only {_KNOWN_FLAGS:#x} are known")
        out.append((f.filter, f.flags))
        where = f"filter {at}: prev"
        at = f.prev if f.HasField("prev") else None
    return tuple(out)


def common(chains: list[Chain]) -> int:
    """How many filters, from the oldest on, all threads have in common."""
    count = 0
    for filters in zip(*chains, strict=False):
        if len(set(filters)) > 1:
            break
        count += 1
    return count


def install(program: Program, chain: Chain, flags: int) -> None:
    """Install filters, oldest first, each with its own flags and these. TSYNC answers with a tid when it fails."""
    for code, own in chain:
        count = len(code) // sc.BPF_INSN_SIZE
        fprog = program.arena.put(_FPROG.pack(count, program.arena.put(code)))
        program.sys(
            "seccomp",
            sc.SECCOMP_SET_MODE_FILTER,
            own | flags,
            fprog,
            expect=abi.EXPECT_EQUAL,
            want=0,
            note=f"a filter of {count} instructions" + (", for all threads" if flags else ""),
        )


def meet(program: Program, word: int, leads: bool) -> None:
    """The leader says that it is done; others wait until it has."""
    code, name = (abi.OP_ADD, "add") if leads else (abi.OP_WAIT, "wait")
    program._add(Operation(code, name, (word, 1), abi.EXPECT_OK, 0, "the seccomp filters of all threads"))
