"""Limits of the machine that are raised while a session runs, and put back in the end."""

from contextlib import suppress
from pathlib import Path

RAISED = {
    # Huge pages for the cases that want some: of the default size; made when they are mapped, and gone with that.
    "vm/nr_overcommit_hugepages": 64,
    # A session takes a hundred thousand pids. If they wrap around, somebody gets one between a dump and its restore.
    "kernel/pid_max": 1 << 22,
    # Pages of the pipes of one user (pipe(7)), who all cases in user namespaces are: one of them makes thousands. None
    # (0) is too many for the test of what happens at the limit.
    "fs/pipe-user-pages-soft": 1 << 18,
}


class Limits:
    """Where one cannot be raised, cases skip that need huge pages, and pids are taken now and then."""

    def __init__(self) -> None:
        self.before: dict[Path, str] = {}

    def pytest_sessionstart(self) -> None:
        """Raise what is less."""
        for name, wanted in RAISED.items():
            path = Path("/proc/sys", name)
            with suppress(OSError):
                before = path.read_text()
                if int(before) < wanted:
                    path.write_text(str(wanted))
                    self.before[path] = before

    def pytest_unconfigure(self) -> None:
        """As it was."""
        for path, before in self.before.items():
            path.write_text(before)
