"""Time namespaces: a tree's clocks go on from where they were, and what cannot be restored is refused by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.context import Context
from engine.errors import BadImage, EngineError
from engine.images.files import Images
from engine.kernel import proc, process
from engine.log import Log
from engine.namespaces import timens
from engine.namespaces.table import Namespace
from engine.options import Options
from zdtm.tests.tasks import Criu, end_restored
from zdtm.tests.worlds import run_in, waiting, world

DAY = 86400
CLOCKS = (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)


@pytest.fixture
def ctx() -> Context:
    return Context(Options(), Log())


@pytest.fixture
def images(ctx: Context, tmp_path: Path) -> Iterator[Images]:
    images = Images.open(ctx.schema, str(tmp_path))
    yield images
    images.close()


def show() -> list[int]:
    return [time.clock_gettime_ns(clock) for clock in CLOCKS]


def shifted() -> int:
    """A child in a time namespace days ahead of this one, which waits there; its pid."""
    Path("/proc/self/timens_offsets").write_text(f"monotonic {DAY} 5\nboottime {3 * DAY} 999999999\n")
    return waiting()


def near(found: list[int], wanted: list[int], after: int) -> None:
    """Within what has passed since, in ns."""
    for a, b in zip(found, wanted, strict=True):
        assert 0 <= a - b <= time.monotonic_ns() - after, (found, wanted)


def test_clocks_go_on(ctx: Context, images: Images) -> None:
    began = time.monotonic_ns()
    with world(("time",), shifted) as (_, child):
        before = run_in(child, ("time",), show)
        timens.dump(ctx, images, Namespace("time", 9, 0, child))
    was = list(timens.clocks(images, 9).values())
    near(was, before, began)
    assert was[0] > DAY * 10**9 and was[1] - was[0] > 2 * DAY * 10**9 - 10**9
    again = time.monotonic_ns()

    def restore() -> int:
        timens.write_offsets(os.getpid(), images, 9)
        return waiting()

    with world(("time",), restore) as (_, child):
        near(run_in(child, ("time",), show), was, again)


def test_from_another_uptime(ctx: Context, images: Images) -> None:
    """A tree without a time namespace, dumped on a machine that had been up for longer, or for less."""
    timens.dump_own(ctx, images)
    near(show(), list(timens.clocks(images, 0).values()), 0)
    for seconds in (5, 40 * DAY):
        entry = ctx.schema.message("timens_entry")()
        for part in (entry.monotonic, entry.boottime):
            part.tv_sec, part.tv_nsec = seconds, 1
        images.write("TIMENS", (0,), [entry])
        began = time.monotonic_ns()

        def restore() -> list[int]:
            timens.write_offsets(os.getpid(), images, 0)
            clocks: list[int] = run_in(waiting(), ("time",), show)
            return clocks

        with world(("time",), restore) as (_, clocks):
            near(clocks, [seconds * 10**9 + 1] * 2, began)


def test_engine_in_a_time_namespace(ctx: Context, images: Images) -> None:
    """Offsets count from the initial namespace, wherever the engine is."""

    def inside() -> tuple[str, str]:
        timens.dump_own(ctx, images)
        return timens.offsets(images, 0), Path("/proc/self/timens_offsets").read_text()

    with world(("time",), shifted) as (_, child):
        wanted, own = run_in(child, ("time",), inside)
    for line, its in zip(wanted.splitlines(), own.splitlines(), strict=True):
        name, seconds, ns = line.split()
        its_name, its_seconds, its_ns = its.split()
        behind = (int(its_seconds) - int(seconds)) * 10**9 + int(its_ns) - int(ns)
        assert name == its_name and 0 <= behind < 10**9  # what has passed between both calls


def test_ahead() -> None:
    with world(("time",), shifted) as (_, child):
        assert timens.ahead(child) == {
            time.CLOCK_MONOTONIC: DAY * 10**9 + 5,
            time.CLOCK_BOOTTIME: 3 * DAY * 10**9 + 999999999,
        }


@pytest.mark.parametrize(("seconds", "ns"), [(1 << 32, 0), (1 << 63, 0), (5, 10**9)])
def test_bad_images(ctx: Context, images: Images, seconds: int, ns: int) -> None:
    entry = ctx.schema.message("timens_entry")()
    for part in (entry.monotonic, entry.boottime):
        part.tv_sec, part.tv_nsec = seconds, ns
    images.write("TIMENS", (2,), [entry])
    with pytest.raises(BadImage, match=r"timens-2.img.*monotonic"):
        timens.offsets(images, 2)


def test_offsets_of_one_that_has_tasks(ctx: Context, images: Images) -> None:
    timens.dump_own(ctx, images)
    refusal = r"cannot write monotonic .* to /proc/\d+/timens_offsets"
    with world(("time",), shifted) as (parent, _), pytest.raises(EngineError, match=refusal):
        timens.write_offsets(parent, images, 0)
    assert process.same_namespace(os.getpid(), "time")


def test_clocks_never_go_back(criu: Criu, quiet, images: Images) -> None:  # type: ignore[no-untyped-def]
    """A tree without a time namespace gets one where the clocks are behind those of the dump, and only there."""
    pid, where = quiet.pid, images.path
    criu("dump", "-t", str(pid), "-D", where)
    quiet.wait()
    criu("restore", "-d", "-S", "-D", where)
    assert process.same_namespace(pid, "time")
    end_restored(pid)
    entry = images.read_one("TIMENS", 0)
    entry.monotonic.tv_sec += 30 * DAY
    images.write("TIMENS", (0,), [entry])
    criu("restore", "-d", "-S", "-D", where)
    assert not process.same_namespace(pid, "time")
    offsets = {
        line.split()[0]: int(line.split()[1]) for line in proc.read_text(f"/proc/{pid}/timens_offsets").splitlines()
    }
    assert 0 <= 30 * DAY - offsets["monotonic"] < 60
    assert -60 < offsets["boottime"] <= 0
    end_restored(pid)
