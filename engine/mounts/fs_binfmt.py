"""binfmt_misc (Documentation/admin-guide/binfmt-misc.rst): its handlers, binfmt-misc.img.

Each user namespace has one file system of its own, the initial one's being the machine's. Handlers that are there
already, with the same text, are left alone.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError
from engine.images.schema import set_text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.mounts.dump import Dump
    from engine.mounts.restore import Builder

_IMAGE, _OLD_IMAGE = "BINFMT_MISC", "BINFMT_MISC_OLD"
_OWN = ("register", "status")
_DELIMITERS = ":|,;!^~#@"
_WRITE = os.O_WRONLY | os.O_CLOEXEC


def dump(dump: Dump, entry: Any, fd: int) -> None:
    """Write down all handlers."""
    make = dump.ctx.schema.message("binfmt_misc_entry")
    if _read(fd, "status") == "disabled\n":
        entry.binfmt_disabled = True
    handlers = [_parse(make(), name, _read(fd, name)) for name in sorted(_list(fd)) if name not in _OWN]
    dump.images.write(_IMAGE, (), handlers)


def _parse(handler: Any, name: str, shown: str) -> Any:
    """One file, as the kernel shows it."""
    set_text(handler, "name", name)
    for number, line in enumerate(shown.splitlines()):
        key, _, value = line.partition(" ")
        if not number:
            handler.enabled = line == "enabled"
        elif key == "flags:":
            set_text(handler, "flags", value)
        elif key == "extension":
            set_text(handler, "extension", value.removeprefix("."))
        elif key == "offset":
            handler.offset = int(value)
        elif key in ("interpreter", "magic", "mask"):
            set_text(handler, key, value)
        else:
            raise EngineError(f"binfmt_misc: {name} says {line!r}, which is not known here: remove it (echo -1)")
    return handler


def finish(build: Builder, entry: Any, fd: int) -> None:
    """Register them. The trees are there: with the flag F the kernel opens the interpreter now."""
    images = build.images
    if images.exists(_IMAGE):
        name, handlers = images.name(_IMAGE), images.read(_IMAGE)
    elif images.exists(_OLD_IMAGE, entry.mnt_id):
        name, handlers = images.name(_OLD_IMAGE, entry.mnt_id), images.read(_OLD_IMAGE, entry.mnt_id)
    else:
        return  # there were none
    if _is_own(build):
        register_all(name, handlers, fd)
        if entry.binfmt_disabled:
            _write(fd, "status", "0")
        return
    # The machine's: the restore has to have succeeded.
    mount = os.dup(fd)

    def late() -> None:
        try:
            register_all(name, handlers, mount)
        finally:
            os.close(mount)

    build.at_end.append(late)


def register_all(image: str, handlers: list[Any], fd: int) -> None:
    """Register handlers that are not there, all or none. BadImage, EngineError."""
    there, made = _list(fd), []
    try:
        for handler in handlers:
            if _register(image, handler, fd, there):
                made.append(text(handler.name))
    except EngineError:
        for name in made:
            _write(fd, name, "-1")
        raise


def _register(image: str, handler: Any, fd: int, there: list[str]) -> bool:
    """False for one that is there already."""
    known = text(handler.name)
    if known in ("", ".", "..", *_OWN) or "/" in known:
        raise BadImage(image, 0, f"a handler is called {known!r}; dump again")
    if known in there:
        if _read(fd, known) != _shown(handler):
            raise EngineError(f"binfmt_misc has another handler {known}: remove it (echo -1), or rename it")
        return False
    is_magic = handler.HasField("magic")
    middle = (_escape(handler.magic), _escape(handler.mask)) if is_magic else (text(handler.extension), "")
    offset = str(handler.offset) if is_magic else ""
    fields = (known, "M" if is_magic else "E", offset, *middle, text(handler.interpreter), text(handler.flags))
    delimiter = next((c for c in _DELIMITERS if not any(c in field for field in fields)), "")
    if not delimiter:
        raise BadImage(image, 0, f"handler {known}: no character is left to put between its fields")
    _write(fd, "register", delimiter + delimiter.join(fields))
    if not handler.enabled:
        _write(fd, known, "0")
    return True


def _escape(digits: Any) -> str:
    """Bytes in hexadecimal, as registering them takes it."""
    shown = text(digits)
    return "".join(f"\\x{shown[at : at + 2]}" for at in range(0, len(shown), 2))


def _shown(handler: Any) -> str:
    """What the kernel shows of it."""
    lines = ["enabled" if handler.enabled else "disabled", f"interpreter {text(handler.interpreter)}"]
    lines.append(f"flags: {text(handler.flags)}")
    if handler.HasField("magic"):
        lines += [f"offset {handler.offset}", f"magic {text(handler.magic)}"]
        if handler.mask:
            lines.append(f"mask {text(handler.mask)}")
    else:
        lines.append(f"extension .{text(handler.extension)}")
    return "\n".join(lines) + "\n"


def _is_own(build: Builder) -> bool:
    """Is it that of a user namespace? The machine's is not switched off."""
    fd = os.open("self/uid_map", os.O_RDONLY | os.O_CLOEXEC, dir_fd=build.proc)
    try:
        return os.read(fd, 100).split() != [b"0", b"0", b"4294967295"]
    finally:
        os.close(fd)


def _list(mount: int) -> list[str]:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _read(directory: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.fsdecode(os.read(fd, 65536))
    finally:
        os.close(fd)


def _write(directory: int, name: str, what: str) -> None:
    try:
        fd = os.open(name, _WRITE, dir_fd=directory)
        try:
            os.write(fd, os.fsencode(what))
        finally:
            os.close(fd)
    except OSError as e:
        raise EngineError(f"binfmt_misc: writing {what!r} to {name}: {e.strerror}") from e
