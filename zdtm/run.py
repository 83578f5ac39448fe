"""One item from start to verdict: build, start, look, rounds of a mode, look again, end, and nothing left."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from zdtm import cgroups, leftovers
from zdtm.build import build_case, missing_32_bit
from zdtm.cases import Case
from zdtm.engine import Engine
from zdtm.failures import (
    CaseFailure,
    CheckFailed,
    EngineFailed,
    HarnessProblem,
    LeftBehind,
    Refused,
    Skipped,
    StateDiffers,
)
from zdtm.features import ENGINE_FEATURES, missing_cpu_feature, missing_lsm
from zdtm.flavours import Flavour
from zdtm.hooks import Hook
from zdtm.observe import snapshot
from zdtm.observe.proc import alive, asleep, live_threads
from zdtm.places import Places, item_directory, machine, remove
from zdtm.tree import Tree, strip_root
from zdtm.waiting import adopting_orphans, kill_all, poll, reap

if TYPE_CHECKING:
    from zdtm.modes import Mode

SETTLE = 2.0  # seconds for a restored tree to be back where it was
PARK = 0.2  # seconds for a test to go to sleep after it said that it is ready; one that spins never does


@dataclass
class Run:
    """The state of one item; steps work on it."""

    case: Case
    flavour: Flavour
    dump_engine: Engine
    restore_engine: Engine
    directory: Path
    tree: Tree
    hook: Hook
    number: int = 0  # of the round, from 1
    pid: int = field(default_factory=os.getpid)  # of the harness
    others: set[int] = field(default_factory=set)  # children that the harness had before the item

    @property
    def seconds(self) -> float:
        """How long a step may take."""
        return float(self.case.header.timeout)

    @property
    def images(self) -> Path:
        """Where this round's images are."""
        return self.directory / f"images-{self.number}"

    @property
    def work(self) -> Path:
        """Where this round's logs and statistics are."""
        return self.directory / f"work-{self.number}"

    @property
    def env(self) -> dict[str, str]:
        """What engines get in their environment."""
        return {"TMPDIR": str(self.directory / "tmp")}

    def ended(self, when: str) -> NoReturn:
        """Say why the tree is gone that should be there."""
        with suppress(ChildProcessError):
            reap(self.tree.root_pid, 1)
        self.tree.verdict(when)
        raise CheckFailed(f"it ended {when}, before it was told to", self.tree.log())

    def prepare(self) -> None:
        """The test wants something from outside before it goes on."""
        self.hook.call("prepare", self.tree.root_pid)

    def look(self) -> snapshot.Snapshot:
        """What the kernel shows of the tree now; again where a task or thread of it has ended meanwhile."""

        def whole() -> snapshot.Snapshot | None:
            with suppress(FileNotFoundError, ProcessLookupError):
                return snapshot.take(self.tree.root_pid, self.flavour.namespaces, self.case.header.ignore)
            if not alive(self.tree.root_pid):
                self.ended("while it was looked at")
            return None

        seen = poll(whole, SETTLE)
        if seen is None:
            raise HarnessProblem("tasks end all the time: what comes and goes belongs to `ignore`")
        return seen

    def settled(self) -> snapshot.Snapshot:
        """Look until two looks agree: what a test does on its way to its sleep is none of its state."""
        pid = self.tree.test_pid
        poll(lambda: True if all(map(asleep, live_threads(pid))) else None, PARK)
        last = self.look()

        def same() -> bool | None:
            nonlocal last
            before, last = last, self.look()
            return True if before == last else None

        if not poll(same, SETTLE):
            raise HarnessProblem("the test does not come to rest: what it does all the time belongs to `ignore`")
        return last

    def compare(self, before: snapshot.Snapshot) -> None:
        """Look again until nothing differs. Raises StateDiffers when something still does after a while."""
        after = before

        def same() -> bool | None:
            nonlocal after
            after = self.look()
            return True if not snapshot.difference(before, after) else None

        if not poll(same, SETTLE):
            (self.directory / "after.txt").write_text(after.text(), errors="surrogateescape")
            difference = snapshot.difference(before, after)
            (self.directory / "difference.txt").write_text(difference + "\n", errors="surrogateescape")
            raise StateDiffers(f"after round {self.number}", difference)


def run_case(
    case: Case,
    flavour: Flavour,
    mode: Mode,
    dump_engine: Engine,
    restore_engine: Engine,
    places: Places,
    *,
    rounds: int = 1,
    keep: bool = False,
    as_root: bool = False,
    label: str = "",
) -> None:
    """Run one item. Returns when it passed; raises CaseFailure, Refused or Skipped.

    With `as_root` the test runs as root even if its header does not ask for that: some engines on some machines
    can checkpoint only what has their own user. The item's directory is below places.artefacts, named after the
    case, the flavour and the label; it stays when the item failed, or with `keep`.
    """
    _check_possible(case, mode, dump_engine)
    program = build_case(places.programs, case.path, case.header.cflags)
    name = "-".join(filter(None, (case.name, flavour.name, label)))
    with machine(places), item_directory(places.artefacts, name) as directory:
        tree = Tree(directory, flavour, as_root or case.as_root, "scratch" in case.header.flags)
        run = Run(case, flavour, dump_engine, restore_engine, directory, tree, Hook(case.path, directory))
        kept = True  # whatever goes wrong
        try:
            _run(run, mode, rounds, program, places.programs)
            kept = keep
        except CaseFailure as failure:
            failure.artefacts = directory
            raise
        except Skipped:
            kept = keep
            raise
        except Refused as refused:
            kept = keep
            # As the test would say it: the same on every machine.
            raise Refused(tuple(r.replace(str(directory), "") for r in refused.reasons)) from None
        finally:
            if kept:
                _tidy(directory)
            else:
                remove(directory)


def _check_possible(case: Case, mode: Mode, engine: Engine) -> None:
    header = case.header
    if os.geteuid() != 0:
        raise HarnessProblem("the suite makes users, namespaces and device nodes: run it as root")
    if header.arch and platform.machine() not in header.arch:
        raise Skipped(f"only for {', '.join(header.arch)}")
    if missing := missing_32_bit(header.cflags):
        raise Skipped(f"this machine has no {missing}")
    if flag := missing_cpu_feature(header.needs):
        raise Skipped(f"this CPU has no {flag}")
    if lsm := missing_lsm(header.needs):
        raise Skipped(f"this kernel has no {lsm}")
    if mode.round:
        for feature in header.needs:
            if feature in ENGINE_FEATURES and not engine.has_feature(feature):
                raise Skipped(f"this kernel or engine has no {feature}")


def _run(run: Run, mode: Mode, rounds: int, program: Path, cache: Path) -> None:
    directory = run.directory
    (directory / "tmp").mkdir()
    os.chmod(directory, 0o755)
    machine = leftovers.look(directory)
    failure: CaseFailure | Refused | Skipped | None = None
    # another engine may fail when a hierarchy of cgroups comes or goes while it looks
    together = "" if run.dump_engine.ours and run.restore_engine.ours else cgroups.ALONE
    with run.hook.alone(together), adopting_orphans() as others:
        run.others = others
        try:
            run.tree.start(program, run.case.header.args, cache, run.seconds, run.prepare)
            run.hook.call("ready", run.tree.root_pid)
            _rounds(run, mode, rounds)
            run.tree.finish(run.seconds)
        except (Refused, Skipped) as error:
            failure = error
        except BaseException as error:
            kill_all(others)  # cgroups, mounts and the like go when nobody is in them
            if not isinstance(error, CaseFailure):
                raise
            failure = error
        finally:
            run.hook.call("clean")
        left = [] if isinstance(failure, CaseFailure) else leftovers.processes(others)
    left += leftovers.left(machine, directory)
    if isinstance(failure, CaseFailure) and left:
        failure.details += "\nleft behind:\n" + "\n".join(left)
    if failure is not None and (isinstance(failure, CaseFailure) or not left):
        raise failure
    if left:
        raise LeftBehind(left[0] if len(left) == 1 else f"{len(left)} things", "\n".join(left))


def _rounds(run: Run, mode: Mode, rounds: int) -> None:
    if not mode.round:
        return
    before = run.settled()
    (run.directory / "before.txt").write_text(before.text(), errors="surrogateescape")
    for run.number in range(1, rounds + 1):
        try:
            for step in mode.round:
                step(run)
        except Refused:
            if not alive(run.tree.root_pid):
                raise  # by a restore
            # A refused dump leaves the tree as it was: the same to look at, and with a test that passes.
            run.compare(before)
            if "crfail" in run.case.header.flags:
                return
            run.tree.finish(run.seconds)
            raise
        except EngineFailed:
            if "crfail" in run.case.header.flags and alive(run.tree.root_pid):
                run.compare(before)
                return
            raise
        if "crfail" in run.case.header.flags:
            raise EngineFailed("the dump of this case has to be refused, and was not")
        run.compare(before)


def _tidy(directory: Path) -> None:
    """Keep of a private root only what somebody may want to read."""
    root = directory / "root"
    if root.is_dir():
        strip_root(root)
