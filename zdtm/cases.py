"""A case: one C file with its header."""

from dataclasses import dataclass
from pathlib import Path

from zdtm.header import Header, parse

KINDS = ("static", "transition")  # the directories that cases live in


@dataclass(frozen=True)
class Case:
    """A C file and the facts that its header states."""

    path: Path
    header: Header

    @property
    def name(self) -> str:
        """What the program is called."""
        return self.path.stem

    @property
    def as_root(self) -> bool:
        """Whether the test runs as root, with all capabilities."""
        return "suid" in self.header.flags


def load(path: Path) -> Case:
    """Read a case. Raises BadHeader."""
    return Case(path, parse(path))
