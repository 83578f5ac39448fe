"""The facts of a case, from the structured comment that its C file begins with.

    /*
     * title: one line that says what is proven
     * flavours: host ns userns
     * flags: suid
     */

A key is given at most once. Everything is checked: a fact that nobody understands would silently not hold.
"""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from zdtm.features import CPU_FEATURES, ENGINE_FEATURES, LSMS
from zdtm.flavours import FLAVOURS
from zdtm.observe.snapshot import IGNORABLE

FLAGS = {
    "suid": "runs as root, not as the unprivileged user",
    "crfail": "the dump has to be refused",
    "scratch": "where it has a root of its own, its directory there is a mount of its own",
    "noauto": "runs only when selected by its own node id or with -m noauto",
}
ARCHITECTURES = ("x86_64", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", "loongarch64", "mips64")


class BadHeader(Exception):
    """A header that cannot be understood; says where and what would be right."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}")


@dataclass(frozen=True)
class Header:
    """What a case says about itself; the fields are the keys of the comment."""

    title: str
    flavours: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    args: tuple[str, ...] = ()  # of the test program
    cflags: tuple[str, ...] = ()  # of the compiler
    opts: tuple[str, ...] = ()  # of dump and restore alike
    dump: tuple[str, ...] = ()  # of dump only
    restore: tuple[str, ...] = ()  # of restore only
    needs: tuple[str, ...] = ()  # names of features.py
    arch: tuple[str, ...] = ()  # empty: any
    timeout: int = 30  # seconds a step may take
    ignore: frozenset[str] = frozenset()  # what this case legitimately changes while it is looked at


KEYS = tuple(field.name for field in fields(Header))
WORDS = {  # key -> the words that it may hold
    "flavours": tuple(FLAVOURS),
    "flags": tuple(FLAGS),
    "needs": (*CPU_FEATURES, *LSMS, *ENGINE_FEATURES),
    "arch": ARCHITECTURES,
    "ignore": tuple(IGNORABLE),
}


def parse(path: Path) -> Header:
    """Read the header of a C file. Raises BadHeader."""
    values: dict[str, object] = {}
    for number, key, text in _entries(path):
        if key not in KEYS:
            raise BadHeader(path, number, f"unknown key '{key}': there are {', '.join(KEYS)}")
        if key in values:
            raise BadHeader(path, number, f"'{key}' is given twice")
        if not text:
            raise BadHeader(path, number, f"'{key}' is empty")
        values[key] = _value(path, number, key, text)
    for required in ("title", "flavours"):
        if required not in values:
            raise BadHeader(path, 1, f"the header has no '{required}'")
    return Header(**values)  # type: ignore[arg-type]


def _entries(path: Path) -> list[tuple[int, str, str]]:
    lines = path.read_text().splitlines()
    if not lines or lines[0].strip() != "/*":
        raise BadHeader(path, 1, "the file does not begin with the comment '/*' that holds its header")
    entries: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines[1:], 2):
        text = line.strip()
        if text == "*/":
            return entries
        if not text.startswith("* ") or ":" not in text:
            raise BadHeader(path, number, f"expected ' * key: value', not '{text}'")
        key, _, value = text[2:].partition(":")
        entries.append((number, key.strip(), value.strip()))
    raise BadHeader(path, 1, "the header's comment does not end")


def _value(path: Path, number: int, key: str, text: str) -> object:
    if key == "title":
        return text
    if key == "timeout":
        if not text.isdecimal() or not 0 < int(text) <= 3600:
            raise BadHeader(path, number, f"timeout: '{text}' is not a number of seconds from 1 to 3600")
        return int(text)
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadHeader(path, number, f"{key}: {error}") from error
    if key in WORDS:
        for word in words:
            if word not in WORDS[key]:
                raise BadHeader(path, number, f"{key}: unknown '{word}': there are {', '.join(WORDS[key])}")
        if len(set(words)) != len(words):
            raise BadHeader(path, number, f"{key}: a word is given twice")
    return frozenset(words) if key in ("flags", "ignore") else words
