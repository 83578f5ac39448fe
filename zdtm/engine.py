"""Running an engine: ours or any other with the same command line."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zdtm.failures import EngineFailed, HarnessProblem, Refused

ERROR = re.compile(r"^(?:\([\d.]+\) )?Error \([^)]*\): ?(.*)$")
PREFLIGHT = "preflight: "
TAIL = 15  # lines of a log that a failure shows


@dataclass(frozen=True)
class Engine:
    """A command that understands CRIU's command line."""

    path: Path
    ours: bool  # its preflight's refusals are skips, not failures

    def run(self, command: str, args: list[str], log: Path, timeout: float, **how: object) -> None:
        """Run `dump`, `restore` and so on with a log. Raises EngineFailed, or Refused by our own preflight."""
        status = self.status(command, args, log, timeout, **how)  # type: ignore[arg-type]
        if status == 0:
            return
        if self.ours and (reasons := refusals(log)):
            raise Refused(reasons)
        what = f"status {status}" if status > 0 else f"signal {-status} ({signal.Signals(-status).name})"
        raise EngineFailed(f"{command} ended with {what}", _excerpt(log))

    def status(
        self,
        command: str,
        args: list[str],
        log: Path,
        timeout: float,
        *,
        wrapper: tuple[str, ...] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run and return the status, negative for a signal. What the engine prints goes beside its log."""
        line = [*wrapper, str(self.path), command, *args, "-o", log.name, "-v4"]
        printed = log.with_suffix(".out")
        with open(printed, "ab") as out:
            out.write(f"$ {' '.join(line)}\n".encode())
            out.flush()
            try:
                process = subprocess.Popen(
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    cwd=cwd or log.parent,
                    env={**os.environ, **(env or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise HarnessProblem(f"cannot run the engine {self.path}: {error.strerror}") from error
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise EngineFailed(f"{command} did not end within {timeout:.0f} s", _excerpt(log)) from error

    def has_feature(self, name: str) -> bool:
        """What `check --feature` says. Raises EngineFailed when it cannot say."""
        try:
            done = subprocess.run(
                [self.path, "check", "--feature", name], stdin=subprocess.DEVNULL, capture_output=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineFailed(f"check --feature {name}: {error}") from error
        return done.returncode == 0


def our_engine() -> Path:
    """The `criu` script of the environment that the suite runs in."""
    return Path(sys.executable).parent / "criu"


def engine(path: Path) -> Engine:
    """An engine by its path."""
    path = Path(os.path.abspath(path))
    return Engine(path, os.path.realpath(path) == os.path.realpath(our_engine()))


def refusals(log: Path) -> tuple[str, ...]:
    """The preflight's reasons, when it is the preflight alone that speaks of errors in a log; else nothing."""
    if not log.exists():
        return ()
    errors = [m[1] for m in map(ERROR.match, log.read_text(errors="replace").splitlines()) if m]
    if not errors or not all(error.startswith(PREFLIGHT) for error in errors):
        return ()
    return tuple(dict.fromkeys(error.removeprefix(PREFLIGHT) for error in errors))


def _excerpt(log: Path) -> str:
    """What a log says of errors, or how it ends."""
    parts = []
    for path in (log, log.with_suffix(".out")):
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        lines = [line for line in lines if ERROR.match(line)][-TAIL:] or lines[-TAIL:]
        if lines:
            parts.append("\n".join((f"{path.name}:", *(f"  {line}" for line in lines))))
    return "\n".join(parts)
