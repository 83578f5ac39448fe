"""Dump, restore and the pause of a live workload: ours and another CRIU's in turn, as ratios of medians.

    python bench/bench.py --peer PATH [-n RUNS] [--only tree,threads] [--dir DIR] [--json FILE]

Wall time of the whole command as a user sees it, and the largest gap that a spinning process sees in its own clock
during `dump --leave-running`. Both engines get the same processes, the same options and fresh directories on the same
file system, one after the other (a tree or many threads are hundreds of small images: where making a file is dear,
`--dir /dev/shm` tells more of the engines); all restored tasks and threads have to be there, with what they had, and
work on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import workload
from workload import Workload

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable).with_name("criu")


def run(*command: object) -> float:
    """Wall time of a command in ms; CalledProcessError with its complaint when it fails."""
    begin = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (time.perf_counter() - begin) * 1e3


def empty(folder: Path) -> None:
    """Remove the images in a directory."""
    for file in folder.iterdir():
        file.unlink()


def round_of(criu: Path, program: Path, name: str, images: Path) -> dict[str, float]:
    """One dump of a live workload, one dump, one restore: figures in ms."""
    try:
        work = Workload(program, name)
        work.runs()
        work.gap()
        run(criu, "dump", "-R", "-t", work.pid, "-D", images)
        work.runs()
        pause = work.gap()
        work.answers()
        empty(images)
        dump = run(criu, "dump", "-t", work.pid, "-D", images)
        workload.reap()
        restore = run(criu, "restore", "-d", "-D", images)
        work.runs()
        work.answers()
    finally:
        workload.kill_all()
        empty(images)
    return {"pause": pause, "dump": dump, "restore": restore}


def measure(
    engines: dict[str, Path], program: Path, name: str, runs: int, where: Path | None
) -> dict[str, dict[str, list[float]]]:
    """Figures by engine and name: the engines take turns, after one round each that does not count."""
    out: dict[str, dict[str, list[float]]] = {engine: {} for engine in engines}
    with tempfile.TemporaryDirectory(prefix="zdtm-bench-", dir=where) as folder:
        images = Path(folder)
        for turn in range(runs + 1):
            # in turn, and each as often first as last: memory that the one before has freed is dearer or cheaper
            for engine, criu in list(engines.items())[:: 1 if turn % 2 else -1]:
                for figure, value in round_of(criu, program, name, images).items():
                    if turn:
                        out[engine].setdefault(figure, []).append(value)
    return out


def report(name: str, measured: dict[str, dict[str, list[float]]]) -> None:
    """One line a figure."""
    for figure in measured["ours"]:
        cells, medians = "", []
        for figures in measured.values():
            values = sorted(figures[figure])
            medians.append(statistics.median(values))
            cells += f"{values[0]:>10.1f}{medians[-1]:>8.1f}{values[-1]:>8.1f}"
        ratio = f"{medians[0] / medians[1]:>8.2f}" if len(medians) > 1 else ""
        print(f"{name + ', ' + figure:22}{cells}{ratio}", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=os.environ.get("CRIU_PEER"), help="the other engine ($CRIU_PEER)")
    parser.add_argument("--ours", type=Path, default=OURS, help="our engine, or another version of it")
    parser.add_argument("-n", "--runs", type=int, default=7, help="rounds of each that count")
    parser.add_argument("--only", help=f"these workloads, of: {', '.join(workload.NAMES)}")
    parser.add_argument("--dir", type=Path, help="where the images go (default: the directory for temporary files)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    args.names = args.only.split(",") if args.only else list(workload.NAMES)
    if unknown := [name for name in args.names if name not in workload.NAMES]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(workload.NAMES)}")
    return args


def main() -> int:
    """Print the table; exit status 1 when a command fails, or what was restored is not what was dumped."""
    args = arguments()
    engines = {"ours": args.ours} | ({"peer": Path(args.peer)} if args.peer else {})
    workload.adopt()
    program = Path(tempfile.mkdtemp(prefix="zdtm-bench-")) / "worker"
    command = ["gcc", "-O2", "-Wall", "-pthread", "-o", str(program), str(HERE / "worker.c")]
    subprocess.run(command, check=True)
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{'load ' + load:22}{'ours, ms':>26}{'peer, ms':>26}{'ratio':>8}")
    print(f"{'':22}{'min  median     max':>26}{'min  median     max':>26}", flush=True)
    figures = {}
    try:
        for name in args.names:
            figures[name] = measure(engines, program, name, args.runs, args.dir)
            report(name, figures[name])
    except subprocess.CalledProcessError as e:
        print(f"{e.cmd}: {e.stderr.decode(errors='replace')}", file=sys.stderr)
        return 1
    except RuntimeError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(program.parent)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
