"""Files of the tree at numbers of a task's descriptor table where the task does not have them, for a moment."""

from __future__ import annotations

import os

from engine.files.fd import FD_CLOEXEC, O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from engine.plan.program import Program, Ref
    from engine.tasks.images import TaskImages

_F_DUPFD_CLOEXEC = 1030


class Borrowed:
    """The table of one task, all of whose own descriptors are there.

    `take(ident)` gets a file that it does not have, or /proc (None). `other` is the number of any other file.
    """

    __slots__ = ("_have", "_other", "_program", "_take")

    def __init__(self, program: Program, task: TaskImages, take: Callable[[int | None], Ref], other: int) -> None:
        self._program = program
        self._take = take
        self._have = {int(e.fd): e for e in task.fdinfo}
        self._other = other

    def at(self, ident: int, number: int) -> At:
        """A context in which file `ident` is at a number, as seen by the program that is being compiled."""
        return At(self, ident, number)

    def woken(self, number: int) -> Woken:
        """A context in which the pipe whose reading end is at a number, an empty one, is not empty."""
        return Woken(self, number)

    def has(self, ident: int, number: int) -> bool:
        """Has the task that file there itself?"""
        return number in self._have and self._have[number].id == ident

    def put(self, ident: int, number: int) -> Ref | None:
        """Put a file at a number; returns where what was there is meanwhile."""
        program = self._program
        away = None
        if number in self._have:
            away = program.sys("fcntl", number, _F_DUPFD_CLOEXEC, 0, note="out of the way")
        else:  # so that it is not what the next call gets
            program.sys("dup3", self._other, number, O_CLOEXEC)
        mine = next((fd for fd, e in self._have.items() if e.id == ident), None)
        note = f"file {ident:#x}, for a moment"
        if mine is not None:
            program.sys("dup3", mine, number, O_CLOEXEC, note=note)
        else:
            got = self._take(ident)
            program.sys("dup3", got, number, O_CLOEXEC, note=note)
            program.sys("close", got)
        return away

    def back(self, number: int, away: Ref | None) -> None:
        """As it was."""
        program = self._program
        if away is None:
            program.sys("close", number)
        else:
            cloexec = O_CLOEXEC if self._have[number].flags & FD_CLOEXEC else 0
            program.sys("dup3", away, number, cloexec, note="back again")
            program.sys("close", away)

    def wake(self, number: int) -> Ref:
        """One byte into the pipe; returns another end of it."""
        program = self._program
        flags = os.O_WRONLY | os.O_NONBLOCK | O_CLOEXEC
        proc = self._take(None)
        end = program.sys("openat", proc, program.arena.text(f"self/fd/{number}"), flags, 0)
        program.sys("write", end, program.arena.reserve(1), 1)
        program.sys("close", proc)
        return end

    def empty(self, number: int, end: Ref) -> None:
        """Take that byte out again."""
        self._program.sys("read", number, self._program.arena.reserve(1), 1)
        self._program.sys("close", end)


class At:
    """See `Borrowed.at`."""

    __slots__ = ("_away", "_borrowed", "_ident", "_number")

    def __init__(self, borrowed: Borrowed, ident: int, number: int) -> None:
        self._borrowed = borrowed
        self._ident = ident
        self._number = number
        self._away: Ref | None = None

    def __enter__(self) -> None:
        if not self._borrowed.has(self._ident, self._number):
            self._away = self._borrowed.put(self._ident, self._number)

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None and not self._borrowed.has(self._ident, self._number):
            self._borrowed.back(self._number, self._away)


class Woken:
    """See `Borrowed.woken`."""

    __slots__ = ("_borrowed", "_end", "_number")

    def __init__(self, borrowed: Borrowed, number: int) -> None:
        self._borrowed = borrowed
        self._number = number
        self._end: Ref | None = None

    def __enter__(self) -> None:
        self._end = self._borrowed.wake(self._number)

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._end is not None and kind is None:
            self._borrowed.empty(self._number, self._end)
