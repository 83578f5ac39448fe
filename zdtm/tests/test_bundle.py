"""The byte code of all modules in one file: what is in it is imported from it, what has changed since is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import engine

LOOK = """
import sys
sys.path += sys.argv[1:]
from engine import bundle
bundle.use()
import engine.errors, engine.files.kinds, engine.files
for module in (engine.errors, engine.files.kinds, engine.files):
    print(type(module.__spec__.loader).__name__, module.__file__, getattr(module, "ADDED", ""))
print(engine.files.__path__, engine.errors.Bug.__module__)
"""
WRITE = "import sys; sys.path += sys.argv[1:]; from engine.bundle import write; write()"
USUAL, QUICK = "SourceFileLoader", "_Finder"


def _run(code: str, top: Path) -> list[str]:
    command = [sys.executable, "-IS", "-c", code, str(top), sysconfig.get_path("platlib")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A copy of the engine, with a file of its own."""
    ours = Path(engine.__file__ or "").parent
    shutil.copytree(ours, tmp_path / "engine", ignore=shutil.ignore_patterns("__pycache__", "*.bin"))
    shutil.copy(ours / "_built" / "descriptors.bin", tmp_path / "engine" / "_built")
    _run(WRITE, tmp_path)
    return tmp_path


def _loaders(top: Path) -> list[str]:
    return [line.split()[0] for line in _run(LOOK, top)[:3]]


def test_imports_from_it(top: Path) -> None:
    """As the usual way does: names, paths, packages."""
    quick = _run(LOOK, top)
    assert [line.split()[0] for line in quick[:3]] == [QUICK] * 3
    file = top / "engine/_built/modules.bin"
    file.rename(top / "away")
    usual = _run(LOOK, top)
    assert [line.replace(USUAL, QUICK) for line in usual] == quick
    assert not list(top.rglob("*.new"))


def test_what_has_changed(top: Path) -> None:
    """A source of another size, or another time, counts; the rest is still taken from the file."""
    kinds = top / "engine/files/kinds.py"
    with kinds.open("a") as f:
        f.write("ADDED = 1\n")
    lines = _run(LOOK, top)
    assert [line.split()[0] for line in lines[:3]] == [QUICK, USUAL, QUICK]
    assert lines[1].endswith(" 1")
    os.utime(top / "engine/errors.py")
    assert _loaders(top) == [USUAL, USUAL, QUICK]


def test_elsewhere(top: Path, tmp_path: Path) -> None:
    """A copy in another folder takes nothing of the first one, nor does a file that is cut off count."""
    other = tmp_path / "other"
    shutil.copytree(top / "engine", other / "engine")
    lines = _run(LOOK, other)
    assert all(line.startswith(f"{USUAL} {other}/") for line in lines[:3])
    file = top / "engine/_built/modules.bin"
    whole = file.read_bytes()
    for size in (0, 4, 8, 100):
        file.write_bytes(whole[:size])
        assert _loaders(top) == [USUAL] * 3


def test_commands_use_it(engine_criu: Path) -> None:
    """Those that set-up has made."""
    for name in ("criu", "crit"):
        assert "bundle.use()" in engine_criu.with_name(name).read_text()
    assert (Path(engine.__file__ or "").parent / "_built/modules.bin").stat().st_size > 1 << 20
