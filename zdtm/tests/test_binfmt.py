"""binfmt_misc: how handlers are read and registered, and which are refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from engine.context import Context
from engine.errors import BadImage, EngineError
from engine.log import Log
from engine.mounts import fs_binfmt
from engine.options import parse

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = "enabled\ninterpreter /bin/one\nflags: PF\noffset 3\nmagic 007a\nmask ffff\n"
EXTENSION = "disabled\ninterpreter /bin/t:wo\nflags: \nextension .x|y\n"


def handler(name: str, shown: str) -> Any:
    """As a dump makes it of what the kernel shows."""
    make = Context(parse(["check"]), Log(2, 2)).schema.message("binfmt_misc_entry")
    return fs_binfmt._parse(make(), name, shown)


@pytest.fixture
def mount(tmp_path: Path) -> int:
    """A directory that takes for registered what is written to it."""
    (tmp_path / "register").touch()
    (tmp_path / "status").touch()
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (MAGIC, r":n:M:3:\x00\x7a:\xff\xff:/bin/one:PF"),
        (EXTENSION, ",n,E,,x|y,,/bin/t:wo,"),
    ],
    ids=["magic", "extension"],
)
def test_what_is_registered_is_what_was_shown(mount: int, tmp_path: Path, shown: str, line: str) -> None:
    it = handler("n", shown)
    assert fs_binfmt._shown(it) == shown
    if shown == EXTENSION:
        (tmp_path / "n").touch()  # which is switched off then
        assert fs_binfmt._register("image", it, mount, [])
        assert (tmp_path / "n").read_text() == "0"
    else:
        assert fs_binfmt._register("image", it, mount, [])
    assert (tmp_path / "register").read_text() == line


@pytest.mark.parametrize("name", ["", ".", "..", "register", "status", "../status", "a/b"])
def test_names_that_are_none_are_refused(mount: int, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadImage, match="is called"):
        fs_binfmt.register_all("image", [handler(name, MAGIC)], mount)
    assert not (tmp_path / "register").read_text() and not (tmp_path / "status").read_text()


def test_another_handler_of_the_name_is_refused_and_those_before_removed(
    mount: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n").write_text(MAGIC)
    handlers = [handler("n", MAGIC), handler("new", EXTENSION), handler("n", EXTENSION)]
    (tmp_path / "new").touch()
    monkeypatch.setattr(fs_binfmt, "_list", lambda _: ["n", "register", "status"])
    with pytest.raises(EngineError, match="another handler n"):
        fs_binfmt.register_all("image", handlers, mount)
    assert (tmp_path / "new").read_text() == "-1"
    assert (tmp_path / "n").read_text() == MAGIC


def test_what_is_not_known_of_a_handler_is_refused() -> None:
    with pytest.raises(EngineError, match="'priority 3', which is not known here"):
        handler("n", MAGIC + "priority 3\n")
