"""What is outside of the tree, by the options: --external, --ext-mount-map, --inherit-fd.

An external resource has a kind, the key in the brackets, and where it needs one a name: for a dump what it is to be
called, for a restore what it is to be.
"""

from __future__ import annotations

import os

from engine.errors import BadOption

# kind -> (what the key is, what the name is: empty where there is none)
_FORMS = {
    "mnt": ("PATH", "NAME"),
    "dev": ("MAJOR/MINOR", "NAME"),
    "file": ("MNT_ID:INODE", ""),
    "tty": ("RDEV:DEV", ""),
    "unix": ("INODE", ""),
    "net": ("INODE", "NAME"),
    "pid": ("INODE", "NAME"),
    "veth": ("IN", "OUT[@BRIDGE]"),
    "macvlan": ("IN", "OUT"),
    "netdev": ("IN", "OUT"),
    "pipe:": ("INODE", ""),
}
# those whose key is two hexadecimal numbers, or one decimal
_PAIRS = ("file", "tty")
_NUMBERS = ("unix", "pipe:")
_AUTO = "auto"  # of --ext-mount-map: the key "" of mnt

External = dict[str, dict[str, str]]


def parse(words: list[str], mounts: list[str] | None = None) -> External:
    """kind -> key -> name, of --external and --ext-mount-map (`mounts`); BadOption for what has none of the forms."""
    out: External = {}
    for word in words:
        kind, bracket, rest = word.partition("[")
        # a path may have brackets of its own; a name comes behind the last one that can end the key
        key, closed, name = rest.rpartition("]:")
        if not closed and rest.endswith("]"):
            key, closed, name = rest[:-1], "]", ""
        if kind not in _FORMS or not bracket or not closed or not _is_key(kind, key):
            raise BadOption(f"--external {word}: it is one of {', '.join(_form(each) for each in _FORMS)}")
        if not key and name.strip("ms"):
            raise BadOption(f"--external {word}: after mnt[] come only m (masters) and s (sharing)")
        _add(out.setdefault(kind, {}), key, name, f"--external {word}: {kind}[{key}]")
    for word in mounts or ():
        key, colon, name = ("", ":", "") if word == _AUTO else word.partition(":")
        if not colon or (word != _AUTO and (not key or not name)):
            raise BadOption(f"--ext-mount-map {word}: KEY:VALUE, or auto")
        _add(out.setdefault("mnt", {}), key, name, f"--ext-mount-map {word}: {key}")
    return out


def _add(its: dict[str, str], key: str, name: str, shown: str) -> None:
    if key in its:
        raise BadOption(f"{shown} is given twice")
    its[key] = name


def _form(kind: str) -> str:
    key, name = _FORMS[kind]
    return f"{kind}[{key}]" + (f":{name}" if name else "")


def _is_key(kind: str, key: str) -> bool:
    if kind in _NUMBERS:
        return key.isdecimal()
    if kind in _PAIRS:
        first, colon, second = key.partition(":")
        return bool(colon) and _is_hex(first) and _is_hex(second)
    return bool(key) or kind == "mnt"


def _is_hex(word: str) -> bool:
    return bool(word) and all(c in "0123456789abcdef" for c in word)


def parse_inherited(words: list[str]) -> dict[str, int]:
    """key -> number, of --inherit-fd; BadOption for what has another form, and for a number that is not open."""
    out: dict[str, int] = {}
    for word in words:
        number, bracket, key = word.removeprefix("fd[").partition("]:")
        if not word.startswith("fd[") or not bracket or not number.isdecimal() or not key:
            raise BadOption(f"--inherit-fd {word}: it is fd[NUMBER]:KEY")
        key = plain_key(key)
        if key in out:
            raise BadOption(f"--inherit-fd {word}: {key} is given twice")
        try:
            os.fstat(int(number))
        except (OSError, OverflowError) as e:
            raise BadOption(f"--inherit-fd {word}: descriptor {number} is not open") from e
        out[key] = int(number)
    return out


def plain_key(key: str) -> str:
    """Files are known by their path without the first slash, memfds as procfs shows them."""
    return key.lstrip("/").removesuffix(" (deleted)")
