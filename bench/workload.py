"""The processes of the benchmark (worker.c), and whether all of them are there and work on."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NAMES: dict[str, tuple[str, int]] = {  # how worker.c is told what to be; a number is of MiB, tasks, threads or files
    "idle": ("random", 0),
    "64 MiB": ("random", 64),
    "1 GiB": ("random", 1024),
    "4 GiB": ("random", 4096),
    "fragmented": ("fragments", 1024),
    "copy-on-write": ("relatives", 1024),
    "zeroes": ("zero", 1024),
    "tree": ("tree", 100),
    "threads": ("threads", 500),
    "fds": ("fds", 1000),
    "container": ("container", 10),
}
# struct seen of worker.c
_GAP, _ROUNDS, _ASKED, _ANSWERS, _WRONG, _OTHERS = 0, 8, 16, 20, 24, 28
_FUTEX_WAKE = 1
_NR_FUTEX = {"x86_64": 202, "aarch64": 98}
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 60


def adopt() -> None:
    """Detached tasks come to this process, to be reaped (PR_SET_CHILD_SUBREAPER(2const))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def below(pid: int) -> list[int]:
    """All descendants of a process, parents first; zombies too."""
    out: list[int] = []
    todo = [pid]
    while todo:
        at = todo.pop()
        with suppress(FileNotFoundError, ProcessLookupError):
            for tid in os.listdir(f"/proc/{at}/task"):
                todo += [int(kid) for kid in Path(f"/proc/{at}/task/{tid}/children").read_text().split()]
        if at != pid:
            out.append(at)
    return out


def reap() -> None:
    """Wait for every child of this process: all of them have been killed, and hold their pids until then."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def kill_all() -> None:
    """Kill and reap every descendant of this process, whoever they came from."""
    for pid in below(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    reap()


class Workload:
    """One process, or a tree, or threads; and what its spinning task sees. `pid` is the same before and after."""

    dump_options: tuple[str, ...] = ()
    restore_options: tuple[str, ...] = ()

    def __init__(self, program: Path, name: str) -> None:
        kind, count = NAMES[name]
        self.tasks = {"tree": count, "container": count, "relatives": 2}.get(kind, 1)
        self.threads = 1 + count if kind == "threads" else 1
        self.file = program.with_name("seen")
        self.file.unlink(missing_ok=True)
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        argv = [str(program), str(self.file), kind, str(count)]
        self.pid = os.posix_spawn(program, argv, os.environ, file_actions=null, setsid=True)
        self.started()
        _until(lambda: self.file.exists() and self.file.stat().st_size >= 4096, "it does not start")
        with open(self.file, "r+b") as f:
            self.seen = mmap.mmap(f.fileno(), 4096)
        self.runs()
        self.others = self._word(_OTHERS)
        self.answers()

    def started(self) -> None:
        """There is a first process, which may need something from outside."""

    def dumped(self) -> None:
        """It has been dumped, and is gone."""

    def restored(self) -> None:
        """It has been restored: `pid` is again that of the first process."""

    def close(self) -> None:
        """All tasks are gone."""

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.seen, at)[0])

    def _rounds(self) -> int:
        return int(struct.unpack_from("<Q", self.seen, _ROUNDS)[0])

    def runs(self) -> None:
        """Wait until the spinning task goes round; RuntimeError when it does not."""
        before = self._rounds()
        _until(lambda: self._rounds() > before, f"process {self.pid} does not work on")

    def answers(self) -> None:
        """All tasks and threads are there, no more; each wakes up and has what it had. RuntimeError when not."""
        family = [self.pid, *below(self.pid)]
        threads = [len(os.listdir(f"/proc/{pid}/task")) for pid in family]
        if len(family) != self.tasks or threads != [self.threads] * self.tasks:
            raise RuntimeError(f"{len(family)} tasks of {self.tasks}, {threads} threads of {self.threads} are there")
        struct.pack_into("<I", self.seen, _ANSWERS, 0)
        struct.pack_into("<I", self.seen, _ASKED, self._word(_ASKED) + 1)
        word = ctypes.addressof(ctypes.c_uint32.from_buffer(self.seen, _ASKED))
        number = _NR_FUTEX[platform.machine()]
        ctypes.CDLL(None).syscall(number, ctypes.c_void_p(word), _FUTEX_WAKE, 0x7FFFFFFF, None, None, 0)
        try:
            _until(lambda: self._word(_ANSWERS) + self._word(_WRONG) >= self.others, "not all answer")
        except RuntimeError as e:
            raise RuntimeError(f"{e}: {self._word(_ANSWERS)} of {self.others}") from None
        if wrong := self._word(_WRONG):
            raise RuntimeError(f"{wrong} of {self.others} find their memory changed")

    def gap(self) -> float:
        """The largest gap in ms since the last call."""
        value = struct.unpack_from("<Q", self.seen, _GAP)[0]
        struct.pack_into("<Q", self.seen, _GAP, 0)
        return float(value) / 1e6


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.001)
