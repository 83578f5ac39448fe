"""stats-dump and stats-restore (stats.proto): counts in pages, times in µs; and --display-stats."""

from __future__ import annotations

import time

from engine.blocks import closing
from engine.context import Context
from engine.errors import KernelError
from engine.images.files import Images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIME_MAX = 0xFFFFFFFF  # µs: times are 32 bits wide in the images
_TIMES = {
    "freezing": "freezing_time",
    "frozen": "frozen_time",
    "memdump": "memdump_time",
    "memwrite": "memwrite_time",
    "irmap_resolve": "irmap_resolve",
}
_IN_US = (*_TIMES.values(), "forking_time", "restore_time")
# --display-stats: fields, and what CRIU calls them
_DUMP = (
    ("freezing_time", "Freezing time"),
    ("frozen_time", "Frozen time"),
    ("memdump_time", "Memory dump time"),
    ("memwrite_time", "Memory write time"),
    ("irmap_resolve", "IRMAP resolve time"),
    ("pages_scanned", "Memory pages scanned"),
    ("pages_skipped_parent", "Memory pages skipped from parent"),
    ("pages_written", "Memory pages written"),
    ("pages_lazy", "Lazy memory pages"),
)
_RESTORE = (
    ("pages_compared", "Pages compared"),
    ("pages_skipped_cow", "Pages skipped COW"),
    ("pages_restored", "Pages restored"),
    ("restore_time", "Restore time"),
    ("forking_time", "Forking time"),
)


class Clock:
    """A stopwatch in µs."""

    __slots__ = ("_last", "_start")

    def __init__(self) -> None:
        self._start = self._last = time.monotonic_ns()

    def lap(self) -> int:
        """µs since the last lap."""
        now = time.monotonic_ns()
        out = (now - self._last) // 1000
        self._last = now
        return out

    def total(self) -> int:
        """µs since the start."""
        return (time.monotonic_ns() - self._start) // 1000


class DumpStats:
    """What stats-dump says: times in µs, counts in pages. Shared memory's (shpages) are apart from all others."""

    __slots__ = (
        *("freezing", "frozen", "memdump", "memwrite", "irmap_resolve"),
        *("pages_scanned", "pages_skipped_parent", "pages_written", "pages_lazy"),
        *("shpages_scanned", "shpages_skipped_parent", "shpages_written"),
    )

    def __init__(self) -> None:
        self.freezing = self.frozen = self.memdump = self.memwrite = self.irmap_resolve = 0
        self.pages_scanned = self.pages_skipped_parent = self.pages_written = self.pages_lazy = 0
        self.shpages_scanned = self.shpages_skipped_parent = self.shpages_written = 0

    def write(self, ctx: Context) -> None:
        """Write stats-dump into the work directory, and print it with --display-stats."""
        entry = ctx.schema.message("stats_entry")()
        d = entry.dump
        for name in self.__slots__:
            value = getattr(self, name)
            if name in _TIMES:
                setattr(d, _TIMES[name], min(value, _TIME_MAX))
            else:
                setattr(d, name, value)
        d.page_pipes = d.page_pipe_bufs = 0  # there are none: pages are copied straight into the image
        with closing(Images.open(ctx.schema, ctx.options.work_dir)) as work:
            try:
                work.write("STATS", ("dump",), [entry])
            except KernelError:
                work.remove_created()
                raise
        if ctx.options.display_stats:
            _show("dump", d, _DUMP)


class RestoreStats:
    """What stats-restore says: times in µs, counts in pages.

    `pages_compared` and `pages_skipped_cow` are of copy-on-write: how many of a parent's pages were looked at, and how
    many of them a child has got without reading them from its image.
    """

    __slots__ = ("clock", "forking", "pages_compared", "pages_restored", "pages_skipped_cow")

    def __init__(self) -> None:
        self.clock = Clock()
        self.forking = self.pages_compared = self.pages_skipped_cow = self.pages_restored = 0

    def write(self, ctx: Context) -> None:
        """Write stats-restore into the work directory, and print it with --display-stats."""
        entry = ctx.schema.message("stats_entry")()
        r = entry.restore
        r.pages_compared = self.pages_compared
        r.pages_skipped_cow = self.pages_skipped_cow
        r.forking_time = min(self.forking, _TIME_MAX)
        r.restore_time = min(self.clock.total(), _TIME_MAX)
        r.pages_restored = self.pages_restored
        with closing(Images.open(ctx.schema, ctx.options.work_dir)) as work:
            try:
                work.write("STATS", ("restore",), [entry])
            except KernelError as e:
                # images on read-only media are no reason not to restore from them
                work.remove_created()
                ctx.log.warn(f"no statistics: {e}")
        if ctx.options.display_stats:
            _show("restore", r, _RESTORE)


def _show(command: str, entry: Any, rows: tuple[tuple[str, str], ...]) -> None:
    """Print what an entry says, as CRIU does: to standard output, whatever the log's level."""
    print(f"Displaying {command} stats:")
    for field, name in rows:
        value = getattr(entry, field)
        print(f"{name}: {value} us" if field in _IN_US else f"{name}: {value} (0x{value:x})")
