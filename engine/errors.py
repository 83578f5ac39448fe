"""What can go wrong, as types: each says whose fault it is and what the user can do about it.

Layers add context (pid, object, image) by raising a more specific message `from` the cause; only `cli.py` exits.
"""

import errno
import os

# What a user can do about an errno, where the call does not know better.
_REMEDY = {
    errno.ENOSPC: "free some space there, or use another directory",
    errno.EROFS: "use another directory",
    errno.EDQUOT: "free some space there, or use another directory",
}


class EngineError(Exception):
    """Base of every error that the engine reports to its user in one line."""


class BadOption(EngineError):
    """The command line or request contradicts itself or names something unknown."""


class Unsupported(EngineError):
    """The tree holds objects that cannot be dumped; `blockers` lists every one, each with its remedy."""

    def __init__(self, blockers: list[str]) -> None:
        super().__init__("\n".join(blockers))
        self.blockers = blockers


class BadImage(EngineError):
    """An image is missing, truncated, foreign or contradicts another one. `name` and `offset` (bytes) locate it."""

    def __init__(self, name: str, offset: int, what: str) -> None:
        super().__init__(f"{name}: offset {offset}: {what}")
        self.name = name
        self.offset = offset


class KernelError(EngineError):
    """The kernel said no: the call, its decoded arguments and errno."""

    def __init__(self, call: str, errno_: int, what: str = "") -> None:
        what = what or _REMEDY.get(errno_, "")
        super().__init__(f"{call}: {os.strerror(errno_)} (errno {errno_})" + (f": {what}" if what else ""))
        self.call = call
        self.errno = errno_


class Bug(EngineError):
    """Something that the engine's own logic excludes has happened."""
