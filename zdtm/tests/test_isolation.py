"""Whole restores of images that want to lead out of the tree's root: nothing outside of it is changed or opened.

The names lead to something inside, too, so that the restore goes on to the end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.context import Context
from engine.images.schema import set_text, text
from engine.log import Log
from engine.options import parse
from zdtm import steps
from zdtm.cases import load
from zdtm.engine import engine
from zdtm.failures import CheckFailed
from zdtm.flavours import FLAVOURS
from zdtm.modes import Mode
from zdtm.places import places
from zdtm.run import run_case

if TYPE_CHECKING:
    from collections.abc import Callable

    from zdtm.run import Run

STATIC = Path(__file__).parents[1] / "static"
OWN = "/.zdtm/"  # the harness's files
LINK, UP = "/scratch/link", "/.." * 12


def rename(run: Run, old: str, new: str) -> None:
    """Have the names of files.img that are, or are below, a name be another one."""
    ctx = Context(parse(["restore", "-D", str(run.images)]), Log(2, 2))
    images = ctx.images()
    entries = images.read("FILES")
    hits = 0
    for entry in entries:
        for _, value in entry.ListFields():
            name = text(value.name) if hasattr(value, "name") else ""
            if name.startswith(old) and name != old and OWN not in name:
                set_text(value, "name", new + name.removeprefix(old))
                hits += 1
    assert hits, f"no file is called {old}"
    (run.images / "files.img").unlink()
    images.write("FILES", (), entries)
    images.close()


def plant(run: Run, target: str) -> None:
    root = run.tree.private_root
    assert root
    os.symlink(target, f"{root}{LINK}")


def outside_of(run: Run) -> Path:
    return run.directory / "outside"


TAMPERED: dict[str, tuple[str, str, Callable[[Run], str]]] = {
    # what: (case, name in its images, what that becomes)
    "a ghost by an absolute link": ("unlink_fstat01", "/scratch/", lambda run: f"{LINK}/"),
    "a ghost by dots": ("unlink_fstat01", "/scratch/", lambda run: f"{UP}{outside_of(run)}/"),
    "a link by an absolute link": ("link_remap_over", "/scratch/", lambda run: f"{LINK}/"),
    "a link's file by dots": ("link_remap_over", "/scratch/", lambda run: f"{UP}{outside_of(run)}/"),
    "a file by an absolute link": ("file_append", "/scratch/", lambda run: f"{LINK}/"),
    "a FIFO by dots": ("unlink_fifo", "/scratch/", lambda run: f"{UP}{outside_of(run)}/"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_nothing_leads_out_of_the_root(
    what: str, engine_criu: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name, old, new = TAMPERED[what]
    kept: dict[str, object] = {}

    def tamper(run: Run) -> None:
        outside = outside_of(run)
        outside.mkdir()
        root = run.tree.private_root
        assert root
        twin = root / outside.relative_to("/")
        twin.mkdir(parents=True)
        for file in (root / "scratch").iterdir():
            if file.is_file():
                os.link(file, twin / file.name)
                (outside / file.name).write_bytes(b"o" * file.stat().st_size)
        os.chmod(outside, 0o777)
        plant(run, str(outside))
        rename(run, old, new(run))
        kept["before"] = look(outside)

    def check(run: Run) -> None:
        kept["after"] = look(outside_of(run))

    def restore(run: Run) -> None:
        try:
            steps.restore(run)
            kept["restored"] = True
            raise CheckFailed("that was all")
        finally:
            check(run)

    mode = Mode("tampered", "", (steps.dump, tamper, restore))
    case = load(STATIC / f"{name}.c")
    case = replace(case, header=replace(case.header, timeout=10))
    criu = engine(engine_criu)
    with suppress(CheckFailed):
        run_case(case, FLAVOURS["ns"], mode, criu, criu, places(request.config.rootpath), label="tampered")
    assert kept["before"] == kept["after"]
    assert kept.get("restored"), "it did not get so far"


def look(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that a restore could have changed there, times of access aside."""
    found: dict[str, tuple[object, ...]] = {"": tuple(os.stat(directory)[:7])}
    for path in sorted(directory.iterdir()):
        st = os.lstat(path)
        content = path.read_bytes() if path.is_file() else b""
        found[path.name] = (st.st_mode, st.st_uid, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns, content)
    return found
