"""Dump, restore and the pause of a live workload: ours and another CRIU's in turn, as ratios of medians.

    python bench/bench.py --peer PATH [-n RUNS] [--json FILE]

Wall time of the whole command as a user sees it, and the largest gap that a spinning process sees in its own clock
during `dump --leave-running`. Both engines get the same process, the same options and fresh directories on the same
file system, one after the other; every restored process has to work on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable).with_name("criu")
PR_SET_CHILD_SUBREAPER = 36
SIZES = {"idle": 0, "256 MiB": 256}


class Workload:
    """One spinning process and what it sees."""

    def __init__(self, program: Path, mib: int, folder: Path) -> None:
        self.file = folder / "gap"
        self.file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [program, str(mib), self.file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not self.file.exists() or self.file.stat().st_size < 4096:
            time.sleep(0.005)
        with open(self.file, "r+b") as f:
            self.seen = mmap.mmap(f.fileno(), 4096)
        self.works()

    @property
    def pid(self) -> int:
        """Before and after."""
        return self.process.pid

    def works(self) -> None:
        """Wait until it goes round; RuntimeError when it does not."""
        before = struct.unpack_from("<Q", self.seen, 8)[0]
        end = time.monotonic() + 20
        while struct.unpack_from("<Q", self.seen, 8)[0] <= before:
            if time.monotonic() > end:
                raise RuntimeError(f"process {self.pid} does not work on")
            time.sleep(0.001)

    def gap(self) -> float:
        """The largest gap in ms since the last call."""
        value = struct.unpack_from("<Q", self.seen, 0)[0]
        struct.pack_into("<Q", self.seen, 0, 0)
        return float(value) / 1e6

    def end(self) -> None:
        """Kill it, whoever its parent is now, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def run(*command: object) -> float:
    """Wall time of a command in ms; CalledProcessError with its complaint when it fails."""
    begin = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (time.perf_counter() - begin) * 1e3


def round_of(criu: Path, program: Path, mib: int, folder: Path) -> dict[str, float]:
    """One dump of a live workload, one dump, one restore: figures in ms."""
    images = folder / "images"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir()
    work = Workload(program, mib, folder)
    try:
        work.gap()
        run(criu, "dump", "-R", "-t", work.pid, "-D", images)
        work.works()
        pause = work.gap()
        shutil.rmtree(images)
        images.mkdir()
        dump = run(criu, "dump", "-t", work.pid, "-D", images)
        work.process.wait()
        restore = run(criu, "restore", "-d", "-D", images)
        work.works()
    finally:
        work.end()
    return {"pause": pause, "dump": dump, "restore": restore}


def measure(engines: dict[str, Path], program: Path, mib: int, runs: int) -> dict[str, dict[str, list[float]]]:
    """Figures by engine and name: the engines take turns, after one round each that does not count."""
    out: dict[str, dict[str, list[float]]] = {name: {} for name in engines}
    with tempfile.TemporaryDirectory(prefix="zdtm-bench-") as folder:
        for turn in range(runs + 1):
            # in turn, and each as often first as last: memory that the one before has freed is dearer or cheaper
            for name, criu in list(engines.items())[:: 1 if turn % 2 else -1]:
                for figure, value in round_of(criu, program, mib, Path(folder)).items():
                    if turn:
                        out[name].setdefault(figure, []).append(value)
    return out


def main() -> int:
    """Print the table; exit status 1 when a command fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=os.environ.get("CRIU_PEER"), help="the other engine ($CRIU_PEER)")
    parser.add_argument("-n", "--runs", type=int, default=7, help="rounds of each that count")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    engines = {"ours": OURS} | ({"peer": Path(args.peer)} if args.peer else {})
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # detached tasks come back to us to be reaped
    program = Path(tempfile.mkdtemp(prefix="zdtm-bench-")) / "worker"
    subprocess.run(["gcc", "-O2", "-Wall", "-o", program, HERE / "worker.c"], check=True)
    figures = {}
    print(f"{'':22}{'ours, ms':>26}{'peer, ms':>26}{'ratio':>8}")
    print(f"{'':22}{'min  median     max':>26}{'min  median     max':>26}")
    try:
        for size, mib in SIZES.items():
            figures[size] = measured = measure(engines, program, mib, args.runs)
            for figure in measured["ours"]:
                cells, medians = "", []
                for name in engines:
                    values = sorted(measured[name][figure])
                    medians.append(statistics.median(values))
                    cells += f"{values[0]:>10.1f}{medians[-1]:>8.1f}{values[-1]:>8.1f}"
                ratio = f"{medians[0] / medians[1]:>8.2f}" if len(medians) > 1 else ""
                print(f"{size + ', ' + figure:22}{cells}{ratio}")
    except subprocess.CalledProcessError as e:
        print(f"{e.cmd}: {e.stderr.decode(errors='replace')}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(program.parent)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
