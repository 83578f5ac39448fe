"""Checks of the images themselves that hold for every case."""

import struct
from pathlib import Path
from typing import Any

from engine.errors import Bug
from engine.images.schema import Schema
from zdtm.failures import HarnessProblem, StateDiffers

PAGE = 4096  # bytes; the unit of a pages image is the page size of the machine that it was made on


def check_page_count(images: Path, work: Path) -> None:
    """The page images hold as many pages as the statistics say. Raises StateDiffers."""
    stats = next((path for path in (work / "stats-dump", images / "stats-dump") if path.exists()), None)
    if stats is None:
        raise StateDiffers("the engine wrote no stats-dump")
    entry = _statistics(stats).dump
    said = entry.pages_written + entry.shpages_written
    size = sum(path.stat().st_size for path in images.glob("pages-*.img"))
    if size != said * PAGE:
        raise StateDiffers(f"the page images hold {size} bytes, the statistics say {said} pages of {PAGE}")


def _statistics(path: Path) -> Any:
    """The one entry of a statistics file: two magics, a length, a message."""
    data = path.read_bytes()
    if len(data) < 12:
        raise StateDiffers(f"{path.name} has {len(data)} bytes")
    (length,) = struct.unpack_from("<I", data, 8)
    try:
        return Schema().message("stats_entry").FromString(data[12 : 12 + length])
    except Bug as error:
        raise HarnessProblem(str(error)) from error
