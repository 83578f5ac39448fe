"""Skips as part of the result: counted by reason, and held against a checked-in list.

A line of the list is `NODEID: REASON`, the reason with its numbers replaced, as pids and addresses change. What
a machine lacks is no property of the engine: such skips are counted, and not held against the list.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

OF_THE_MACHINE = ("no peer CRIU", "this CPU has no ", "this kernel has no ", "only for ")
NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\d+")


def normal(reason: str) -> str:
    """A reason in the form that the list has: numbers as N, one line."""
    return " ".join(NUMBER.sub("N", reason).split())


class SkipList:
    """Collects the skips of a session where reports arrive: in the process that the user started."""

    def __init__(self, expected: Path | None, write_to: Path | None, titles: bool) -> None:
        self.expected = expected
        self.write_to = write_to
        self.titles = titles
        self.ran: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.of_the_machine: set[str] = set()
        self.title_of: dict[str, str] = {}
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what ran and what skipped."""
        self.ran.add(report.nodeid)
        if report.skipped and not hasattr(report, "wasxfail"):
            longrepr = report.longrepr
            reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
            self.skipped[report.nodeid] = reason.removeprefix("Skipped: ")
            if self.skipped[report.nodeid].startswith(OF_THE_MACHINE):
                self.of_the_machine.add(report.nodeid)
        for name, value in report.user_properties:
            if name == "title":
                self.title_of[report.nodeid] = str(value)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """With --collect-only nothing runs: the titles come from the items."""
        if session.config.option.collectonly:
            for item in session.items:
                for name, value in item.user_properties:
                    if name == "title":
                        self.title_of[item.nodeid] = str(value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare with the list; a difference fails a session that passed."""
        ran = self.ran - self.of_the_machine
        skipped = {nodeid: reason for nodeid, reason in self.skipped.items() if nodeid in ran}
        if self.write_to is not None:
            write(self.write_to, ran, skipped)
        elif self.expected is not None:
            self.unexpected = deviations(read(self.expected), ran, skipped)
            if self.unexpected and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Titles if wanted, skips by reason, and what is not as listed."""
        line = terminalreporter.write_line
        if self.titles and self.title_of:
            terminalreporter.section("titles")
            for nodeid, title in self.title_of.items():
                line(f"{nodeid}: {title}")
        if self.skipped:
            terminalreporter.section("skips by reason")
            for reason, count in Counter(map(normal, self.skipped.values())).most_common():
                line(f"{count:4} {reason}")
        if self.unexpected:
            terminalreporter.section(f"skips differ from {self.expected}", red=True)
            for text in self.unexpected:
                line(text)
            line("(if this is right: --write-expected-skips)")
        if self.write_to is not None:
            line(f"wrote {self.write_to}")


def read(path: Path) -> dict[str, str]:
    """The list by node id. Raises pytest.UsageError for a line that is none."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise pytest.UsageError(f"--expected-skips: {path}: {error.strerror}") from error
    for number, text in enumerate(lines, 1):
        if not text or text.startswith("#"):
            continue
        nodeid, colon, reason = text.partition(": ")
        if not colon:
            raise pytest.UsageError(f"{path}:{number}: expected 'NODEID: REASON', not '{text}'")
        found[nodeid] = reason
    return found


def deviations(expected: dict[str, str], ran: set[str], skipped: dict[str, str]) -> list[str]:
    """What is not as listed, among the items that ran."""
    found = []
    for nodeid in sorted(ran):
        listed, reason = expected.get(nodeid), skipped.get(nodeid)
        if reason is not None and listed is None:
            found.append(f"{nodeid} skips and is not listed: {normal(reason)}")
        elif reason is None and listed is not None:
            found.append(f"{nodeid} is listed, but did not skip")
        elif reason is not None and listed != normal(reason):
            found.append(f"{nodeid} skips for another reason than listed: {normal(reason)}")
    return found


def write(path: Path, ran: set[str], skipped: dict[str, str]) -> None:
    """Replace the lines of what ran; other lines and the comment at the top stay."""
    old = path.read_text().splitlines() if path.exists() else []
    head = [text for text in old if text.startswith("#")]
    lines = {nodeid: reason for nodeid, reason in read(path).items() if nodeid not in ran} if old else {}
    lines.update((nodeid, normal(reason)) for nodeid, reason in skipped.items())
    path.write_text("".join(f"{x}\n" for x in [*head, *(f"{n}: {r}" for n, r in sorted(lines.items()))]))
