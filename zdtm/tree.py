"""The processes of one item: started in the surroundings of a flavour, found again after a restore, and ended."""

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zdtm.build import LIB, build
from zdtm.failures import CheckFailed, HarnessProblem, Skipped
from zdtm.flavours import USER, Flavour
from zdtm.observe.proc import alive, inner_pid, tree
from zdtm.waiting import poll, reap

OWN = ".zdtm"  # the harness's directory in a test's own; zdtm/lib/zdtm.c knows it too
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "net/tun": (10, 200)}


@dataclass
class Tree:
    """Where an item's processes live and which they are; pids as the harness sees them."""

    directory: Path  # of the item
    flavour: Flavour
    as_root: bool
    scratch_mount: bool = False
    root_pid: int = 0  # what the engine is given: pid 1 of the namespaces, or the test itself
    test_pid: int = 0
    inner_test_pid: int = field(default=0, init=False)

    @property
    def private_root(self) -> Path | None:
        """The directory that is / inside, for flavours that have one."""
        return self.directory / "root" if self.flavour.namespaces else None

    @property
    def scratch(self) -> Path:
        """The directory that the test starts in, as the harness sees it."""
        return (self.private_root or self.directory) / "scratch"

    def own(self, name: str) -> Path:
        """A file that the test and the harness talk through."""
        return self.scratch / OWN / name

    def start(
        self,
        program: Path,
        args: tuple[str, ...],
        cache: Path,
        seconds: float,
        outside: Callable[[], object] = lambda: None,
    ) -> None:
        """Start the test and wait until it says that it is ready; `outside` is called if it asks for that.

        Raises CheckFailed or Skipped when it ends instead, HarnessProblem when it says nothing.
        """
        self._make_scratch()
        if self.flavour.namespaces:
            self._start_in_root(program, args, cache)
        else:
            self._start_on_host(program, args)
        if poll(self._asks_or_goes_on, seconds) and self.own("outside").exists():
            outside()
            poll(self._tell, seconds)
        ready = poll(self._ready_or_gone, seconds)
        if ready is None:
            raise HarnessProblem(f"the test was not ready within {seconds:.0f} s", self.log())
        if not ready:
            reap(self.root_pid, seconds)
            self.verdict("before it was ready")
            raise CheckFailed("it passed without waiting for a checkpoint", self.log())
        self.inner_test_pid = int(self.own("pid").read_text())
        self.find_test()

    def find_test(self) -> None:
        """Look the test up below the root task, by the pid that it knows itself."""
        for pid in tree(self.root_pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # a child that has ended meanwhile
                if inner_pid(pid) == self.inner_test_pid:
                    self.test_pid = pid
                    return
        raise HarnessProblem(f"pid {self.inner_test_pid} of the test is not in the tree of {self.root_pid}")

    def finish(self, seconds: float) -> None:
        """Tell the test to check itself, and wait for its end and verdict. Raises CheckFailed or Skipped."""
        with suppress(ProcessLookupError):  # it has ended before: the verdict says why
            os.kill(self.test_pid, signal.SIGTERM)
        status = reap(self.root_pid, seconds)
        if status is None:
            raise CheckFailed(f"it did not end within {seconds:.0f} s of SIGTERM", self.log())
        self.verdict(_ending(status))

    def verdict(self, ending: str) -> None:
        """Read the verdict of a test that is gone."""
        path = self.own("verdict")
        text = path.read_text().strip() if path.exists() else ""
        word, _, why = text.partition(": ")
        if word == "SKIP":
            raise Skipped(why)
        if text != "PASS":
            raise CheckFailed(why or f"no verdict: the test ended {ending}", self.log())

    def log(self) -> str:
        """What the test printed."""
        path = self.own("log")
        return path.read_text(errors="replace").rstrip() if path.exists() else ""

    def _asks_or_goes_on(self) -> bool | None:
        return True if self.own("outside").exists() else self._ready_or_gone()

    def _tell(self) -> bool | None:
        with suppress(OSError):  # ENXIO: it has not opened it yet
            os.close(os.open(self.own("done"), os.O_WRONLY | os.O_NONBLOCK))
            return True
        return None

    def _ready_or_gone(self) -> bool | None:
        if self.own("ready").exists():
            return True
        return None if alive(self.root_pid) else False

    def _make_scratch(self) -> None:
        uid, gid = (0, 0) if self.as_root else (USER.uid, USER.gid)
        owner = self.flavour.outside_uid(uid), self.flavour.outside_gid(gid)
        own = self.scratch / OWN
        own.mkdir(parents=True)
        os.chown(self.scratch, *owner)
        os.chmod(self.scratch, 0o755)
        # A test may change its user: whoever it is then, it can write what the harness reads.
        os.chmod(own, 0o777)
        self.own("log").touch()
        os.mkfifo(own / "done")
        os.chmod(own / "done", 0o644)
        os.chmod(self.own("log"), 0o666)

    def _start_on_host(self, program: Path, args: tuple[str, ...]) -> None:
        copy = self.directory / program.name
        shutil.copy(program, copy)
        with open(self.own("log"), "a") as log:
            process = subprocess.Popen(
                [str(copy), *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.scratch,
                env=_environment(),
                umask=0o022,
                start_new_session=True,
                restore_signals=True,
                user=None if self.as_root else USER.uid,
                group=None if self.as_root else USER.gid,
                extra_groups=None if self.as_root else [USER.group],
            )
        self.root_pid = process.pid
        process.returncode = 0  # reaped by pid, not by this object: a restore replaces the process

    def _start_in_root(self, program: Path, args: tuple[str, ...], cache: Path) -> None:
        root = self.directory / "root"
        init = build(cache, (LIB / "init.c",))
        launch = build(cache, (LIB / "launch.c",))
        fill_root(root, {"init": init, program.name: program}, self.flavour)
        maps = ["".join(f"{r}\n" for r in ranges) or "-" for ranges in (self.flavour.uid_map, self.flavour.gid_map)]
        user = ("-", "-", "-") if self.as_root else (str(USER.uid), str(USER.gid), str(USER.group))
        done = subprocess.run(
            [str(launch), str(root), *maps, "scratch" if self.scratch_mount else "-", *user, f"/{program.name}", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            timeout=30,
        )
        # Read to the end, that is until /init has opened its own log: what went wrong before stands here.
        if done.returncode != 0 or done.stderr:
            raise HarnessProblem("the namespaces could not be made", done.stderr)
        self.root_pid = int(done.stdout)


def fill_root(root: Path, programs: dict[str, Path], flavour: Flavour) -> None:
    """A root directory that needs nothing from outside: programs, the libraries they want, a few devices."""
    for name in ("dev/net", "proc", "tmp"):
        (root / name).mkdir(parents=True)
    for name, (major, minor) in DEVICES.items():
        node = root / "dev" / name
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(node, 0o666)
    for name, program in programs.items():
        shutil.copy(program, root / name)
    for library in sorted({path for program in programs.values() for path in _libraries(program)}):
        target = root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    scratch = root / "scratch"
    owner = flavour.outside_uid(0), flavour.outside_gid(0)
    for directory, below, files in os.walk(root):
        if Path(directory) == scratch:
            below.clear()
            continue
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            os.chown(path, *owner)
    os.chmod(root / "tmp", 0o1777)


def strip_root(root: Path) -> None:
    """Leave of a root directory what a reader of artefacts wants: the test's own files."""
    for path in root.iterdir():
        if path.name != "scratch":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _libraries(program: Path) -> list[Path]:
    """What the dynamic loader would map, itself included."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=30)
    words = [word for line in done.stdout.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith("/")]


def _environment() -> dict[str, str]:
    """The same for every test, wherever the suite is run from."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"by signal {number} ({signal.Signals(number).name})"
    return f"with status {os.WEXITSTATUS(status)}"
