"""Fixtures for tests in Python: engines, C programs and detached processes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from zdtm.build import build
from zdtm.engine import our_engine
from zdtm.places import places


@pytest.fixture
def engine_criu() -> Path:
    """The path of our `criu` script."""
    path = our_engine()
    if not path.exists():
        pytest.fail(f"there is no {path}: install the package (pip install -e .)", pytrace=False)
    return path


@pytest.fixture
def peer_criu(request: pytest.FixtureRequest) -> Path:
    """The path of a CRIU to compare with; skips without one."""
    given = request.config.option.peer or os.environ.get("CRIU_PEER")
    if not given:
        pytest.skip("no peer CRIU (--peer PATH or $CRIU_PEER)")
    path = Path(given)
    if not os.access(path, os.X_OK):
        pytest.fail(f"--peer: {path} cannot be run", pytrace=False)
    return path


@pytest.fixture
def c_program(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Compiles a C file, or C source given as a string; returns the program's path.

    `c_program(source, *flags)`; programs are cached by content, and copied into the test's own directory.
    """
    cache = places(request.config.rootpath).programs

    def make(source: str | Path, *flags: str, name: str = "program") -> Path:
        if isinstance(source, Path):
            path = source
        else:
            path = tmp_path / f"{name}.c"
            path.write_text(source)
        built = build(cache, (path,), flags)
        copy = tmp_path / built.name
        copy.write_bytes(built.read_bytes())
        copy.chmod(0o755)
        return copy

    return make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program detached: a session of its own, /dev/null and a log file, in a directory of its own.

    `start(program, *args)` returns its Popen, with the log's path as `.log`; it is killed at the end of the test,
    and what a restore has put in place of it (same pid) too.
    """
    with ExitStack() as stack:

        def run(program: Path | str, *args: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
            path = tmp_path / f"{Path(program).name}.log"
            with open(path, "ab") as log:
                process = subprocess.Popen(
                    [str(program), *args],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=cwd or tmp_path,
                    start_new_session=True,
                )
            process.log = path  # type: ignore[attr-defined]
            stack.callback(_end, process)
            return process

        yield run


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        if _session(process.pid) == process.pid:
            os.kill(process.pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        process.wait(10)


def _session(pid: int) -> int:
    """The pid may be somebody else's by now; a session leader of the same number is ours."""
    return os.getsid(pid)
