"""What a task is, beside its memory and files: identity, credentials, signals, limits, scheduling."""

import os
import signal
import struct

from zdtm.observe.proc import PROC, inner_pid, read, stat, stat_fields, status_lines

# Lines of /proc/PID/status that hold state which a restore has to bring back; counters are left out.
STATUS = (
    *("Name", "Umask", "TracerPid", "Uid", "Gid", "Groups", "NStgid", "NSpid", "NSpgid", "NSsid", "Kthread"),
    *("Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"),
    *("THP_enabled", "untag_mask", "x86_Thread_features", "x86_Thread_features_locked"),
    *("Speculation_Store_Bypass", "SpeculationIndirectBranch", "CoreDumping"),
    *("Cpus_allowed", "Mems_allowed"),
)
ZOMBIE = ("Name", "Uid", "Gid", "NStgid", "NSpid", "NSpgid", "NSsid")
PID_LINES = ("NStgid", "NSpid", "NSpgid", "NSsid")

# Fields of /proc/PID/stat, by their number in proc(5).
STAT = {
    7: "tty_nr",
    18: "priority",
    19: "nice",
    26: "start_code",
    27: "end_code",
    28: "start_stack",
    38: "exit_signal",
    40: "rt_priority",
    41: "policy",
    45: "start_data",
    46: "end_data",
    47: "start_brk",
    48: "arg_start",
    49: "arg_end",
    50: "env_start",
    51: "env_end",
    52: "exit_code",
}

STATES = {"T": "stopped", "t": "stopped by its tracer", "Z": "zombie", "X": "dead"}

# Whole files; one that the kernel does not have, or does not show, is noted as such on both sides.
FILES = ("oom_score_adj", "loginuid", "personality", "timerslack_ns", "coredump_filter")
# Not the time namespace: an engine may make one for a tree, to let its clocks go on from where they were.
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def parent(pid: int, tree: list[int]) -> str:
    """The task's parent, if that is in the tree."""
    number = int(stat(pid)[4])
    return f"parent: {inner_pid(number) if number in tree else 'outside the tree'}"


def identity(pid: int) -> list[str]:
    """Who it is: links, arguments, environment."""
    lines = [f"{link}: {os.readlink(PROC / str(pid) / link)}" for link in ("exe", "cwd", "root")]
    for name in ("cmdline", "environ"):
        lines += [f"{name}: {part}" for part in read(pid, name).split("\0")]
    auxv = (PROC / str(pid) / "auxv").read_bytes()
    words = struct.unpack(f"={len(auxv) // 8}Q", auxv)
    lines += [f"auxv {key}: {value:#x}" for key, value in zip(words[::2], words[1::2], strict=True)]
    for name in NAMESPACES:
        same = os.readlink(PROC / str(pid) / "ns" / name) == os.readlink(PROC / "self" / "ns" / name)
        lines.append(f"{name} namespace: {'the host' if same else 'its own'}")
    lines += [f"{name}: {' '.join(read(pid, name).split())}" for name in ("uid_map", "gid_map")]
    return lines


def cgroups(text: str) -> list[str]:
    """Where it is, by controllers. Others make and end hierarchies meanwhile: all are at / in them."""
    places = sorted(line.split(":", 1)[1] for line in text.splitlines())
    return [f"cgroup {place}" for place in places if not place.endswith(":/")]


def state(pid: int, ignore: frozenset[str]) -> list[str]:
    """Process-wide settings."""
    lines = [f"{name}: {_file(pid, name)}" for name in FILES]
    if "cgroup" not in ignore:
        lines += cgroups(_file(pid, "cgroup"))
    lines += [f"limit: {' '.join(line.split())}" for line in read(pid, "limits").splitlines()[1:]]
    lines += [f"timer: {_timer_line(pid, line)}" for line in _file(pid, "timers").splitlines()]
    return lines


def _timer_line(pid: int, line: str) -> str:
    """A line of /proc/PID/timers; who is told, by the id that it has in its own pid namespace."""
    head, kind, number = line.rpartition("id.")
    if not kind:
        return line
    own = status_lines(read(pid, f"task/{number}/status"))["NSpid"].split()[-1]
    return f"{head}{kind}{own}"


def thread(pid: int, tid: int, ignore: frozenset[str]) -> list[str]:
    """One thread: status and stat. `ignore` may leave out if SIGTERM is blocked, and how many threads there are."""
    have = status_lines(read(pid, f"task/{tid}/status"))
    lines = []
    for name in STATUS:
        if name in have and not (name == "Threads" and "threads" in ignore):
            value = have[name].split()[-1] if name in PID_LINES else " ".join(have[name].split())
            if name == "SigBlk" and "sigterm" in ignore:
                value = f"{int(value, 16) & ~(1 << signal.SIGTERM - 1):016x} or SIGTERM"
            lines.append(f"{name}: {value}")
    fields = stat_fields(read(pid, f"task/{tid}/stat"))
    if fields[3] == "Z":  # what of it somebody can still see: its parent, in the main
        lines = [line for line in lines if line.split(":")[0] in ZOMBIE]
        return [*lines, f"exit_code: {fields[52]}", f"exit_signal: {fields[38]}", "state: zombie"]
    lines += [f"{name}: {fields[number]}" for number, name in STAT.items()]
    return [*lines, f"state: {STATES.get(fields[3], 'alive')}"]


def _file(pid: int, name: str) -> str:
    try:
        return read(pid, name).rstrip("\n")
    except OSError as error:
        return f"<{error.strerror}>"
