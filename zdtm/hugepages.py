"""Huge pages for the cases that want some: the kernel may make more of them while a session runs."""

from contextlib import suppress
from pathlib import Path

OVERCOMMIT = Path("/proc/sys/vm/nr_overcommit_hugepages")
WANTED = 64  # of the default size; made when they are mapped, and gone with that


class HugePages:
    """Raises the machine's limit of huge pages beyond its pool, and puts it back in the end."""

    def __init__(self) -> None:
        self.before: str | None = None

    def pytest_sessionstart(self) -> None:
        """Where that cannot be, cases skip that need huge pages."""
        with suppress(OSError):
            before = OVERCOMMIT.read_text()
            if int(before) < WANTED:
                OVERCOMMIT.write_text(str(WANTED))
                self.before = before

    def pytest_unconfigure(self) -> None:
        """As it was."""
        if self.before is not None:
            OVERCOMMIT.write_text(self.before)
