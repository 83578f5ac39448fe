"""Preflight: look at the whole tree before anything is frozen, and name every object that cannot be dumped."""

import os

from engine.context import Context
from engine.errors import EngineError, Unsupported
from engine.files import table
from engine.kernel import proc
from engine.memory import vmas as vma_kind

_STATES = {"Z": "is a zombie", "X": "is dead", "T": "is stopped", "t": "is stopped by its tracer"}
_DEAD = ("Z", "X")


def preflight(ctx: Context, pid: int) -> list[proc.Vma]:
    """Raise Unsupported with all blockers, EngineError for a pid that cannot be meant; returns the mappings seen."""
    stat = _target(pid)
    blockers = []
    status = proc.status(pid)
    if stat.state in _STATES:
        blockers.append(f"{_STATES[stat.state]}: only running and sleeping tasks are supported yet")
    if stat.state in _DEAD:
        raise Unsupported([f"pid {pid}: {b}" for b in blockers])  # there is nothing more of it to look at
    threads = proc.threads(pid)
    if len(threads) > 1:
        blockers.append(f"has {len(threads)} threads: only single-threaded tasks are supported yet")
    children = proc.children(pid)
    if children:
        blockers.append(f"has children {children}: only single tasks are supported yet")
    if status.get("TracerPid", "0") != "0":
        blockers.append(f"is traced by pid {status['TracerPid']}: detach that one first")
    if status.get("Seccomp", "0") != "0":
        blockers.append(f"seccomp mode {status['Seccomp']} is not supported yet")
    if proc.read_text(f"/proc/{pid}/timers"):
        blockers.append("POSIX timers (timer_create) are not supported yet")
    own, its = proc.namespaces("self"), proc.namespaces(pid)
    blockers += [
        f"{name} namespace {its[name]} is not the engine's: namespaces are not supported yet"
        for name in its
        if its[name] != own.get(name)
    ]
    if _is_32_bit(pid):
        blockers.append("is a 32-bit program: these are not supported yet")
    if stat.sid != pid and not ctx.options.shell_job:
        blockers.append(f"session {stat.sid} has its leader outside of the tree: dump the leader, or use --shell-job")
    mappings = proc.smaps(pid)
    blockers = [f"pid {pid}: {b}" for b in blockers]
    blockers += [f"pid {pid}: {b}" for b in vma_kind.blockers(mappings)]
    if its.get("mnt") == own.get("mnt"):
        blockers += [b if b.startswith("pid ") else f"pid {pid}: {b}" for b in table.blockers(pid)]
    if blockers:
        raise Unsupported(blockers)
    return mappings


def _is_32_bit(pid: int) -> bool:
    """ELFCLASS32 of the executable (elf(5)); registers tell for sure, but only of a frozen task."""
    fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 5) == b"\x7fELF\x01"
    finally:
        os.close(fd)


def _target(pid: int) -> proc.Stat:
    """The task's stat, if it is one that can be dumped at all."""
    try:
        stat = proc.Stat(pid)
        leader = proc.status(pid)["Tgid"]
    except (FileNotFoundError, ProcessLookupError) as e:
        raise EngineError(f"pid {pid} does not exist; give --tree the pid of a running process") from e
    if stat.is_kernel_thread:
        raise EngineError(f"pid {pid} ({stat.comm}) is a kernel thread; only user processes can be dumped")
    if int(leader) != pid:
        raise EngineError(f"pid {pid} is a thread of process {leader}; give --tree {leader}")
    ancestor = os.getpid()
    while ancestor > 0:
        if ancestor == pid:
            who = "the engine itself" if pid == os.getpid() else "an ancestor of the engine"
            raise EngineError(f"pid {pid} ({stat.comm}) is {who}; start criu from outside of the tree to dump")
        ancestor = proc.Stat(ancestor).ppid
    return stat
