"""Dump, restore and the pause of a live workload: ours and another CRIU's in turn, as ratios of medians.

    python bench/bench.py --peer PATH [-n RUNS] [--only idle,tree] [--dir DIR]... [--json FILE] [--page FILE.md]

Wall time of the whole command as a user sees it; the largest gap that a spinning process sees in its own clock during
`dump --leave-running`; bytes in the images; the most memory that a command had, beyond that of an idle process's. Both
engines get the same processes, the same options and fresh directories on the same file system, one after the other (a
tree or many threads are hundreds of small images: where making a file is dear, /dev/shm tells more of the engines); all
restored tasks and threads have to be there, with every byte that they had, and work on. The floor is a plain copy of as
many bytes into a file there, and from it into fresh memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import container
import page
import workload
from workload import Workload

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable).with_name("criu")
FLOOR = {"dump": "memory-to-file", "restore": "file-to-memory"}
# A round's figures, and the unit of each.
UNITS = {
    "pause": "ms",
    "dump": "ms",
    "restore": "ms",
    "images": "MiB",
    "dump memory": "MiB",
    "restore memory": "MiB",
}


class Bench:
    """The compiled programs and where the images go."""

    def __init__(self, programs: Path, where: Path) -> None:
        self.worker = programs / "worker"
        self.command = programs / "command"
        self.figures = programs / "figures"
        self.images = Path(tempfile.mkdtemp(prefix="zdtm-bench-", dir=where))

    def run(self, *command: object) -> tuple[float, float]:
        """(ms, peak memory in MiB) of a command; CalledProcessError with its complaint when it fails."""
        argv = [str(self.command), str(self.figures), *(str(c) for c in command)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        ns, kib = self.figures.read_text().split()
        return int(ns) / 1e6, int(kib) / 1024

    def empty(self) -> float:
        """Remove the images; returns how many MiB they had."""
        size = 0
        for file in self.images.iterdir():
            size += file.stat().st_size
            file.unlink()
        return size / (1 << 20)

    def round_of(self, criu: Path, name: str) -> dict[str, float]:
        """One dump of a live workload, one dump, one restore."""
        out: dict[str, float] = {}
        kind = container.Container if name == "container" else Workload
        work: Workload | None = None
        try:
            work = kind(self.worker, name)
            work.runs()
            work.gap()
            self.run(criu, "dump", "-R", "-t", work.pid, "-D", self.images, *work.dump_options)
            work.runs()
            out["pause"] = work.gap()
            work.answers()
            out["images"] = self.empty()
            command = ("dump", "-t", work.pid, "-D", self.images, *work.dump_options)
            out["dump"], out["dump memory"] = self.run(criu, *command)
            workload.reap()
            work.dumped()
            command = ("restore", "-d", "-D", self.images, *work.restore_options)
            out["restore"], out["restore memory"] = self.run(criu, *command)
            work.restored()
            work.runs()
            work.answers()
        finally:
            workload.kill_all()
            self.empty()
            if work:
                work.close()
        return out

    def floor(self, mib: int) -> dict[str, float]:
        """ms of a plain copy of as many bytes as a dump and a restore have to move."""
        file = self.images / "floor"
        try:
            return {
                figure: int(subprocess.check_output([self.command, "floor", how, file, str(mib)])) / 1e6
                for figure, how in FLOOR.items()
            }
        finally:
            file.unlink(missing_ok=True)


Measured = dict[str, dict[str, list[float]]]


def measure(bench: Bench, engines: dict[str, Path], name: str, runs: int) -> Measured:
    """Figures by engine and name: the engines take turns, after one round each that does not count."""
    out: Measured = {who: {} for who in (*engines, "floor")}
    size = 0
    for turn in range(runs + 1):
        # in turn, and each as often first as last: memory that the one before has freed is dearer or cheaper
        for engine, criu in list(engines.items())[:: 1 if turn % 2 else -1]:
            got = bench.round_of(criu, name)
            size = max(size, round(got["images"])) if engine == "ours" else size
            for figure, value in got.items():
                if turn:
                    out[engine].setdefault(figure, []).append(value)
        for figure, value in (bench.floor(size) if size and turn else {}).items():
            out["floor"].setdefault(figure, []).append(value)
    return out


def report(name: str, measured: Measured) -> None:
    """One line a figure."""
    for figure, unit in UNITS.items():
        cells, medians = "", []
        for engine in ("ours", "peer"):
            if values := sorted(measured.get(engine, {}).get(figure, [])):
                medians.append(statistics.median(values))
                cells += f"{values[0]:>10.1f}{medians[-1]:>8.1f}{values[-1]:>8.1f}"
        ratio = f"{medians[0] / medians[1]:>8.2f}" if len(medians) > 1 and unit == "ms" else ""
        floor = measured["floor"].get(figure)
        least = f"{statistics.median(floor):>10.1f}" if floor else ""
        print(f"{f'{name}, {figure}, {unit}':32}{cells}{ratio}{least}", flush=True)


def over_idle(figures: dict[str, Measured]) -> None:
    """Memory is told beyond what the engine has for an idle process: what is there whatever the process's size."""
    idle = figures.get("idle", {})
    base = {
        (engine, figure): statistics.median(values)
        for engine, its in idle.items()
        for figure, values in its.items()
        if figure.endswith("memory")
    }
    for name, measured in figures.items():
        for engine, its in measured.items():
            for figure in its:
                if name != "idle" and (engine, figure) in base:
                    its[figure] = [value - base[engine, figure] for value in its[figure]]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=os.environ.get("CRIU_PEER"), help="the other engine ($CRIU_PEER)")
    parser.add_argument("--ours", type=Path, default=OURS, help="our engine, or another version of it")
    parser.add_argument("-n", "--runs", type=int, default=7, help="rounds of each that count")
    parser.add_argument("--only", help=f"these workloads, of: {', '.join(workload.NAMES)}")
    parser.add_argument(
        "--dir", type=Path, action="append", help="where the images go, may be several (default: temporary files)"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--page", type=Path, help="put tables and a plot (FILE.svg) into this page")
    args = parser.parse_args()
    args.names = args.only.split(",") if args.only else list(workload.NAMES)
    if unknown := [name for name in args.names if name not in workload.NAMES]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(workload.NAMES)}")
    if args.page and not args.peer:
        parser.error("--page shows ratios: --peer is needed")
    return args


def build(programs: Path) -> None:
    """Compile the processes of the benchmark, and our Python: where it may not write, each start would."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", HERE.parent / "engine"], check=True)
    for name, source, how in (
        ("worker", "worker.c", ()),
        (container.PROGRAM, "worker.c", ("-static",)),
        ("command", "command.c", ()),
    ):
        command = ["gcc", "-O2", "-Wall", "-pthread", *how, "-o", str(programs / name), str(HERE / source)]
        subprocess.run(command, check=True)


def main() -> int:
    """Print the table; exit status 1 when a command fails, or what was restored is not what was dumped."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the processes go, and the images
    engines = {"ours": args.ours} | ({"peer": Path(args.peer)} if args.peer else {})
    workload.adopt()
    programs = Path(tempfile.mkdtemp(prefix="zdtm-bench-"))
    build(programs)
    all_figures: dict[str, dict[str, Measured]] = {}
    name = ""
    try:
        for where in args.dir or [Path(tempfile.gettempdir())]:
            bench = Bench(programs, where)
            kind = page.file_system(where)
            load = "/".join(f"{value:.1f}" for value in os.getloadavg())
            print(f"{f'{kind}, load {load}':32}{'ours':>26}{'peer':>26}{'ratio':>8}{'floor':>10}")
            print(f"{'':32}{'min  median     max':>26}{'min  median     max':>26}", flush=True)
            figures = all_figures[kind] = {}
            try:
                for name in args.names:
                    figures[name] = measure(bench, engines, name, args.runs)
                    over_idle({key: its for key, its in figures.items() if key in ("idle", name)})
                    report(name, figures[name])
            finally:
                shutil.rmtree(bench.images)
    except subprocess.CalledProcessError as e:
        print(f"{e.cmd}: {(e.stderr or b'').decode(errors='replace')}", file=sys.stderr)
        return 1
    except RuntimeError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(programs)
    if args.json:
        args.json.write_text(json.dumps(all_figures, indent=1))
    if args.page:
        page.write(args.page, all_figures, UNITS, args.runs, Path(args.peer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
