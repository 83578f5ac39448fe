"""The pytest plugin: options, and C files as collections of items, one a flavour."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zdtm.cases import KINDS, Case, load
from zdtm.engine import engine, our_engine
from zdtm.failures import CaseFailure, Refused, Skipped
from zdtm.flavours import FLAVOURS, Flavour
from zdtm.header import BadHeader
from zdtm.limits import Limits
from zdtm.modes import MODES, Mode
from zdtm.places import places
from zdtm.run import run_case
from zdtm.skips import SkipList

EXPECTED_SKIPS = Path(__file__).parent / "expected-skips.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the matrix."""
    group = parser.getgroup("zdtm", "checkpoint/restore matrix")
    add = group.addoption
    add("--flavor", metavar="LIST", help=f"only these flavours, with commas between: {', '.join(FLAVOURS)}")
    add("--nocr", action="store_true", help="no checkpoint: is the test itself right?")
    add("--norestore", action="store_true", help="dump with --leave-running, and go on without a restore")
    add("--as-root", action="store_true", help="run every test as root, not as the unprivileged user")
    add("--iters", type=int, default=1, metavar="N", help="rounds of dump and restore in a row (default 1)")
    add("--engine", type=Path, metavar="PATH", help="any CRIU-compatible engine (default: ours)")
    add("--dump-engine", type=Path, metavar="PATH", help="engine for dump (default: --engine)")
    add("--restore-engine", type=Path, metavar="PATH", help="engine for restore (default: --engine)")
    add("--keep", action="store_true", help="keep the artefacts of passed items too")
    add("--title", action="store_true", help="list the titles of the cases at the end, or with --collect-only")
    add("--peer", type=Path, metavar="PATH", help="a CRIU to compare with (default: $CRIU_PEER)")
    add("--expected-skips", type=Path, metavar="FILE", help="fail unless exactly the listed items skip")
    add(
        "--write-expected-skips",
        action="store_true",
        help="bring FILE of --expected-skips (default: the checked-in one) up to date with this run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and register what keeps state through a session."""
    config.addinivalue_line("markers", "noauto: a case that runs only when it is asked for")
    flavours_of(config)
    mode_of(config)
    if config.option.iters < 1:
        raise pytest.UsageError("--iters: at least 1")
    if not hasattr(config, "workerinput"):
        expected = config.option.expected_skips
        target = expected or EXPECTED_SKIPS
        skips = SkipList(expected, target if config.option.write_expected_skips else None, config.option.title)
        config.pluginmanager.register(skips, "zdtm-skips")
        config.pluginmanager.register(Limits(), "zdtm-limits")


def flavours_of(config: pytest.Config) -> tuple[Flavour, ...]:
    """The flavours that --flavor selects."""
    names = [name for name in (config.option.flavor or ",".join(FLAVOURS)).split(",") if name]
    for name in names:
        if name not in FLAVOURS:
            raise pytest.UsageError(f"--flavor: no flavour '{name}': there are {', '.join(FLAVOURS)}")
    return tuple(FLAVOURS[name] for name in names)


def mode_of(config: pytest.Config) -> Mode:
    """The mode that the options select."""
    if config.option.nocr and config.option.norestore:
        raise pytest.UsageError("--nocr and --norestore contradict each other")
    return MODES["nocr" if config.option.nocr else "norestore" if config.option.norestore else "plain"]


def engine_paths(config: pytest.Config) -> tuple[Path, Path]:
    """The engines for dump and for restore."""
    option = config.option
    default = option.engine or our_engine()
    return option.dump_engine or default, option.restore_engine or default


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is tested, and how."""
    dump, restore = engine_paths(config)
    which = f"{dump}" if dump == restore else f"dump by {dump}, restore by {restore}"
    return [f"zdtm: {mode_of(config).title}; engine: {which}"]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A C file in static/ or transition/ is a case."""
    if file_path.suffix == ".c" and file_path.parent.name in KINDS:
        return CaseFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop flavours that are not wanted, and cases that want to be asked for."""
    wanted = {flavour.name for flavour in flavours_of(config)}
    asked = "noauto" in (config.option.markexpr or "")
    out = []
    for item in items:
        if isinstance(item, CaseItem):
            named = any(item.case.path.name in argument for argument in config.args)
            by_itself = "noauto" not in item.case.header.flags or named or asked
            if item.flavour.name not in wanted or not by_itself:
                out.append(item)
    if out:
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)


class CaseFile(pytest.File):
    """A C file; its items are its flavours."""

    def collect(self) -> Iterator["CaseItem"]:
        try:
            case = load(self.path)
        except BadHeader as error:
            raise self.CollectError(str(error)) from error
        for name in case.header.flavours:
            yield CaseItem.from_parent(self, name=name, case=case, flavour=FLAVOURS[name])


class CaseItem(pytest.Item):
    """A case in a flavour."""

    def __init__(self, *, case: Case, flavour: Flavour, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.case = case
        self.flavour = flavour
        self.user_properties.append(("title", case.header.title))
        for flag in sorted(case.header.flags & {"noauto"}):
            self.add_marker(flag)

    def runtest(self) -> None:
        """Run the item; what cannot be done is a skip in the words of who says so."""
        config = self.config
        dump, restore = engine_paths(config)
        try:
            run_case(
                self.case,
                self.flavour,
                mode_of(config),
                engine(dump),
                engine(restore),
                places(config.rootpath),
                rounds=config.option.iters,
                keep=config.option.keep,
                as_root=config.option.as_root,
            )
        except (Refused, Skipped) as reason:
            raise pytest.skip.Exception(str(reason), _use_item_location=True) from reason

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: object) -> object:  # type: ignore[override]
        """The kinds of failure that the matrix knows are texts; anything else is a bug here, with its traceback."""
        if isinstance(excinfo.value, CaseFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where the item stands and what it is called."""
        return self.path, 0, f"{self.case.name} ({self.flavour.name}): {self.case.header.title}"
