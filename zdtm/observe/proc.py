"""Reading /proc: the little that every observation shares."""

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def read(pid: int, name: str) -> str:
    """A file of a task's directory as text; bytes that are no UTF-8 survive."""
    return (PROC / str(pid) / name).read_text(errors="surrogateescape")


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    return status_lines(read(pid, "status"))


def status_lines(text: str) -> dict[str, str]:
    """The same of any status file."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat, numbered as in proc(5): the first is at index 1."""
    return stat_fields(read(pid, "stat"))


def stat_fields(text: str) -> list[str]:
    """The same of any stat file; the name is without its brackets."""
    before, _, after = text.rpartition(")")
    return ["", *before.split(" (", 1), *after.split()]


def inner_pid(pid: int) -> int:
    """A task's pid in its own, innermost namespace."""
    return int(status(pid)["NSpid"].split()[-1])


def threads(pid: int) -> list[int]:
    """Thread ids, as the harness sees them."""
    return sorted(int(name) for name in os.listdir(PROC / str(pid) / "task"))


def children(pid: int) -> list[int]:
    """The direct children of all threads; those of one that ends meanwhile are another's."""
    found: set[int] = set()
    for tid in threads(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(int(child) for child in read(pid, f"task/{tid}/children").split())
    return sorted(found)


def tree(pid: int) -> list[int]:
    """A task and all of its descendants, parents first; descendants that have ended meanwhile may be missing."""
    found = [pid]
    for task in found:
        try:
            found.extend(children(task))
        except (FileNotFoundError, ProcessLookupError):
            if task == pid:
                raise
    return found


def alive(pid: int) -> bool:
    """Whether the task exists and is not a zombie; one whose leader has ended before its other threads is alive."""
    return bool(live_threads(pid))


def live_threads(pid: int) -> list[int]:
    """The threads that have not ended; none when the task is not there.

    One may have started another and ended between the listing and the look at it: then they are listed again.
    """
    try:
        listed: list[int] = []
        live: list[int] = []
        while not live and listed != (now := threads(pid)):
            listed = now
            live = [tid for tid in listed if _running(pid, tid)]
        return live
    except (FileNotFoundError, ProcessLookupError):
        return []


def asleep(tid: int) -> bool:
    """Whether a thread waits for something in the kernel; one that has ended meanwhile does."""
    try:
        return read(tid, "syscall") != "running\n"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _running(pid: int, tid: int) -> bool:
    try:
        return stat_fields(read(pid, f"task/{tid}/stat"))[3] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
