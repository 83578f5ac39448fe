"""`make demo`: a program counts into a file, is dumped (gone), is restored and counts on; then the timeline.

Uses the public commands only: `criu dump`, `criu restore -d` and `crit decode` (for the statistics). Every
statement it prints has been checked; it exits with 1, keeping logs and images, when one is not true.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEMORY = 32  # MiB
PATIENCE = 10.0  # seconds to wait for anything that should take far less


class DemoError(Exception):
    """Something is not as the demonstration says."""


def wait_for(what: str, true: Callable[[], bool]) -> float:
    """Wait until `true()`; return the seconds it took, or raise DemoError naming `what`."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > PATIENCE:
            raise DemoError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.002)
    return time.monotonic() - begin


def run(step: str, *command: str, log: Path | None = None) -> float:
    """Run a command; return its wall time in seconds; raises DemoError with its output and log."""
    begin = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    took = time.monotonic() - begin
    if done.returncode:
        tail = log.read_text(errors="replace").splitlines()[-15:] if log and log.exists() else []
        raise DemoError("\n".join([f"{step}: {' '.join(command)}: status {done.returncode}", done.stdout, *tail]))
    return took


def ask_crit(crit: str, image: Path) -> dict[str, Any]:
    """The one entry of a statistics image, as `crit decode` shows it: times in µs, sizes in pages."""
    done = subprocess.run([crit, "decode", "-i", str(image)], stdout=subprocess.PIPE, check=True)
    (entry,) = json.loads(done.stdout)["entries"]
    (values,) = (entry[half] for half in ("dump", "restore") if half in entry)
    return values


class Counter:
    """The counting program, its file, and what is known of them."""

    def __init__(self, folder: Path) -> None:
        self.binary = folder / "counter"
        self.file = folder / "count"
        self.pid = 0

    def start(self) -> None:
        """Compile and start it, in a session of its own, off this terminal."""
        run("compiling", "gcc", "-O2", "-Wall", "-o", str(self.binary), str(HERE / "counter.c"))
        process = subprocess.Popen(
            [self.binary, self.file, str(MEMORY)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = process.pid

    def numbers(self) -> list[int]:
        """Every whole line of its file so far."""
        text = self.file.read_text() if self.file.exists() else ""
        return [int(line) for line in text[: text.rfind("\n") + 1].split()]

    def count(self) -> int:
        """The last number it wrote; raises DemoError unless the file holds every number up to it, once."""
        numbers = self.numbers()
        if numbers != list(range(1, len(numbers) + 1)):
            raise DemoError(f"{self.file} skips or repeats a number: {numbers}")
        return len(numbers)

    def alive(self) -> bool:
        """Is there a process of its pid that runs its binary?"""
        try:
            return os.readlink(f"/proc/{self.pid}/exe") == str(self.binary)
        except OSError:
            return False

    def reap(self) -> None:
        """Wait for the dumped process, our child, which the dump has killed."""
        wait_for("the dumped process to end", lambda: os.waitpid(self.pid, os.WNOHANG)[0] == self.pid)


def table(rows: list[tuple[str, str, str]]) -> str:
    """Three columns, the last one to the right, with a rule under the first row."""
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(f"    {line}" for line in lines)


def ms(seconds: float) -> str:
    """A time in seconds, written in milliseconds."""
    return f"{seconds * 1e3:,.1f} ms"


def mib(size: float) -> str:
    """A size in bytes, written in MiB."""
    return f"{size / (1 << 20):,.1f} MiB"


def demonstrate(criu: str, crit: str | None, folder: Path) -> list[tuple[str, str, str]]:
    """The whole story in `folder`; returns the timeline's rows."""
    images = folder / "images"
    images.mkdir()
    counter = Counter(folder)
    counter.start()
    pid = counter.pid
    try:
        wait_for("the program to count to 5", lambda: counter.count() >= 5)
        print(f"  {counter.binary} is process {pid}; it holds {MEMORY} MiB and counts into an open file:")
        print(f"    ... {' '.join(map(str, counter.numbers()[-5:]))}\n")

        print(f"  $ criu dump -t {pid} -D {images} -o dump.log")
        dump_wall = run("dump", criu, "dump", "-t", str(pid), "-D", str(images), "-o", "dump.log", "-v4",
                        log=images / "dump.log")  # fmt: skip
        counter.reap()
        if Path(f"/proc/{pid}").exists():
            raise DemoError(f"process {pid} is still there after the dump")
        last = counter.count()
        time.sleep(0.3)
        if counter.count() != last:
            raise DemoError("somebody counts on after the dump")
        stored = [path for path in images.iterdir() if path.suffix == ".img"]
        size = sum(path.stat().st_size for path in stored)
        print(f"    gone: there is no process {pid}; the last number is {last}, and stays that")
        print(f"    {len(stored)} images, {mib(size)}\n")

        print(f"  $ criu restore -d -D {images} -o restore.log")
        restore_wall = run("restore", criu, "restore", "-d", "-D", str(images), "-o", "restore.log", "-v4",
                           log=images / "restore.log")  # fmt: skip
        first = wait_for("the restored program to count on", lambda: counter.count() > last)
        wait_for("five more numbers", lambda: counter.count() >= last + 5)
        if not counter.alive():
            raise DemoError(f"process {pid} is not the restored one")
        print(f"    process {pid} is back, with the same pid, memory and open file, and counts on:")
        print(f"    {last} | {' '.join(map(str, counter.numbers()[last:]))} ...\n")
    finally:
        if counter.alive():
            os.kill(pid, signal.SIGKILL)
    rows = [
        ("command", "step", "measured"),
        ("dump", "the whole command", ms(dump_wall)),
        ("", "images written", mib(size)),
        ("restore", "the whole command", ms(restore_wall)),
        ("", "until the next number (the program sleeps 100 ms a turn)", ms(first)),
    ]
    if crit:
        dumped, restored = ask_crit(crit, images / "stats-dump"), ask_crit(crit, images / "stats-restore")
        page = os.sysconf("SC_PAGESIZE")
        rows[2:2] = [
            ("", "freeze: until all of it stands still", ms(dumped["freezing_time"] / 1e6)),
            ("", "frozen: until it is let go of", ms(dumped["frozen_time"] / 1e6)),
            ("", "  of it: taking the memory", ms(dumped["memdump_time"] / 1e6)),
            ("", "pages looked at", f"{dumped['pages_scanned']:,}"),
            ("", "pages written", f"{dumped['pages_written']:,}"),
            ("", "bytes in them", mib(dumped["pages_written"] * page)),
        ]
        rows[-1:-1] = [
            ("", "making the processes", ms(restored["forking_time"] / 1e6)),
            ("", "resume: until it runs again", ms(restored["restore_time"] / 1e6)),
            ("", "pages restored", f"{restored['pages_restored']:,}"),
        ]
    return rows


def main() -> int:
    """Exit status: 0 when all of it was as it says, else 1."""
    binaries = Path(sys.executable).parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--criu", default=str(binaries / "criu"), help="another engine's command")
    parser.add_argument("--crit", help="the command that shows the statistics (default: this engine's own)")
    options = parser.parse_args()
    crit = options.crit or (str(binaries / "crit") if options.criu == parser.get_default("criu") else None)
    folder = Path(tempfile.mkdtemp(prefix="zdtm-demo-"))
    try:
        rows = demonstrate(options.criu, crit, folder)
    except (DemoError, OSError, subprocess.CalledProcessError, LookupError, ValueError) as error:
        print(f"\ndemo failed: {error}\n(logs and images: {folder})", file=sys.stderr)
        return 1
    print(table(rows))
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
