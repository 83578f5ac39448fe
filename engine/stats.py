"""stats-dump and stats-restore (stats.proto): counts in pages, times in µs; and --display-stats."""

import time
from contextlib import closing

from engine.context import Context
from engine.errors import KernelError
from engine.images.files import Images


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
    """What stats-dump says."""

    __slots__ = (
        *("freezing", "frozen", "memdump", "memwrite", "pages_scanned", "pages_written"),
        *("shpages_scanned", "shpages_written"),
    )

    def __init__(self) -> None:
        self.freezing = self.frozen = self.memdump = self.memwrite = 0
        self.pages_scanned = self.pages_written = 0
        self.shpages_scanned = self.shpages_written = 0

    def write(self, ctx: Context) -> None:
        """Write stats-dump into the work directory, and print it with --display-stats."""
        entry = ctx.schema.message("stats_entry")()
        d = entry.dump
        d.freezing_time = self.freezing
        d.frozen_time = self.frozen
        d.memdump_time = self.memdump
        d.memwrite_time = self.memwrite
        d.pages_scanned = self.pages_scanned
        d.pages_skipped_parent = 0
        d.pages_written = self.pages_written
        d.pages_lazy = 0
        d.page_pipes = d.page_pipe_bufs = 0
        d.shpages_scanned, d.shpages_written = self.shpages_scanned, self.shpages_written
        d.shpages_skipped_parent = 0
        with closing(Images.open(ctx.schema, ctx.options.work_dir)) as work:
            try:
                work.write("STATS", ("dump",), [entry])
            except KernelError:
                work.remove_created()
                raise
        if ctx.options.display_stats:
            print(
                "Displaying dump stats:\n"
                f"Freezing time: {self.freezing} us\n"
                f"Frozen time: {d.frozen_time} us\n"
                f"Memory dump time: {self.memdump} us\n"
                f"Memory write time: {self.memwrite} us\n"
                f"Memory pages scanned: {self.pages_scanned} (0x{self.pages_scanned:x})\n"
                "Memory pages skipped from parent: 0 (0x0)\n"
                f"Memory pages written: {self.pages_written} (0x{self.pages_written:x})\n"
                "Lazy memory pages: 0 (0x0)"
            )


class RestoreStats:
    """What stats-restore says."""

    __slots__ = ("clock", "forking", "pages_restored")

    def __init__(self) -> None:
        self.clock = Clock()
        self.forking = self.pages_restored = 0

    def write(self, ctx: Context) -> None:
        """Write stats-restore into the work directory, and print it with --display-stats."""
        entry = ctx.schema.message("stats_entry")()
        r = entry.restore
        r.pages_compared = r.pages_skipped_cow = 0
        r.forking_time = self.forking
        r.restore_time = self.clock.total()
        r.pages_restored = self.pages_restored
        with closing(Images.open(ctx.schema, ctx.options.work_dir)) as work:
            try:
                work.write("STATS", ("restore",), [entry])
            except KernelError as e:
                # images on read-only media are no reason not to restore from them
                work.remove_created()
                ctx.log.warn(f"no statistics: {e}")
        if ctx.options.display_stats:
            print(
                "Displaying restore stats:\n"
                "Pages compared: 0 (0x0)\n"
                "Pages skipped COW: 0 (0x0)\n"
                f"Pages restored: {self.pages_restored} (0x{self.pages_restored:x})\n"
                f"Restore time: {r.restore_time} us\n"
                f"Forking time: {self.forking} us"
            )
