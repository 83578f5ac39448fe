"""What tracking costs the task: writing 1 GiB once, untracked and tracked, and what the tracker's own steps take.

    python bench/track.py [-n RUNS] [--pages PAGES]

Medians in ms. The task writes a byte to each page, page by page, of memory that is there already: in small pages, and
in huge ones, which protection makes small where they are written to.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.context import Context
from engine.kernel import proc, process
from engine.kernel.uapi import ptrace as pt
from engine.log import Log
from engine.memory import vdso
from engine.memory.track import Tracker
from engine.options import Options
from engine.tasks import freeze
from engine.tasks.collect import Collected, registers

SOURCE = Path(__file__).resolve().parents[1] / "zdtm/tests/programs/writer.c"
PAGE = 4096


class Task:
    """The writer, and how long it takes for what it is told."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def __call__(self, *words: object) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def ms(begin: float) -> float:
    """Since then."""
    return (time.perf_counter() - begin) * 1e3


def start(ctx: Context, task: Task, ranges: list[tuple[int, int, int]]) -> Tracker:
    """Track the ranges, from a freeze of its own."""
    while proc.Stat(task.pid).state != "S":
        pass
    with freeze.frozen(task.pid, 5_000_000, pt.PTRACE_O_SUSPEND_SECCOMP, {}) as tree:
        vmas = proc.smaps(task.pid)
        one = Collected(ctx, tree.tasks[0], {}, set())
        registers(ctx, one, vdso.areas(vmas))
        first = one.live[0]
        return Tracker.start(ctx, task.pid, tree.tasks[0].first, first.regs, first.mask, vmas, ranges)


def round_of(ctx: Context, program: str, kind: str, pages: int) -> dict[str, float]:
    """One task: figures in ms."""
    task = Task(program)
    out = {}
    try:
        at = task("map", kind, pages * PAGE)
        task("write", at, pages)
        begin = time.perf_counter()
        task("write", at, pages)
        out["untracked"] = ms(begin)
        ranges = [(at, at + pages * PAGE, 0)]
        begin = time.perf_counter()
        tracker = start(ctx, task, ranges)
        out["start"] = ms(begin)
        for name in ("tracked", "written again"):
            begin = time.perf_counter()
            task("write", at, pages)
            out[name] = ms(begin)
        begin = time.perf_counter()
        found = sum(count for _, count, _ in tracker.changed(ranges, again=True))
        out["search"] = ms(begin)
        assert found == pages, f"{found} of {pages} pages have changed"
        begin = time.perf_counter()
        task("write", at, pages)
        out["second round"] = ms(begin)
        begin = time.perf_counter()
        tracker.stop()
        out["stop"] = ms(begin)
    finally:
        task.process.kill()
        task.process.wait()
    return out


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("--pages", type=int, default=1 << 18)
    args = parser.parse_args()
    process.block_sigchld(True)
    ctx = Context(Options(), Log())
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/writer"
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", program, SOURCE], check=True)
        for kind in ("private", "thp"):
            rounds = [round_of(ctx, program, kind, args.pages) for _ in range(args.n)]
            shown = (f"{name} {statistics.median(r[name] for r in rounds):.1f}" for name in rounds[0])
            print(f"{kind}, {args.pages * PAGE >> 20} MiB: " + ", ".join(shown))


if __name__ == "__main__":
    main()
