"""The log as users of CRIU know it: `Error (file:line): message`, timestamps from level 3 on."""

import os
import sys
import time

ERROR, WARN, INFO, DEBUG = 1, 2, 3, 4
_PREFIX = {ERROR: "Error ", WARN: "Warn  ", INFO: "", DEBUG: ""}


class Log:
    """One log, to a descriptor. Levels: 0 nothing (messages only), 1 errors, 2 warnings, 3 information, 4 debug."""

    __slots__ = ("fd", "first_error", "level", "start")

    def __init__(self, fd: int = 2, level: int = WARN) -> None:
        self.fd = fd
        self.level = level
        self.start = time.monotonic()
        self.first_error: str | None = None

    def _write(self, level: int, text: str, where: str = "") -> None:
        stamp = f"({time.monotonic() - self.start:09.6f}) " if self.level >= INFO else ""
        out = "".join(f"{stamp}{_PREFIX[level]}{where}{line}\n" for line in text.splitlines() or [""])
        data = os.fsencode(out)
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as e:
            # a full disk must not turn a working dump into a failed one: the log's end is told on stderr
            if self.fd != 2:
                self.fd = 2
                os.write(
                    2,
                    os.fsencode(f"Warn  (engine/log.py): the log file: {e.strerror}; going on here\n") + data,
                )

    def error(self, text: str, cause: BaseException | None = None) -> None:
        """Something failed; every line gets the place: the caller's, or where the cause was raised."""
        if self.first_error is None:
            self.first_error = text
        if self.level >= ERROR:
            self._write(ERROR, text, _raised(cause) if cause else _place(2))

    def warn(self, text: str) -> None:
        """Something is not as asked, and the work goes on."""
        if self.level >= WARN:
            self._write(WARN, text, _place(2))

    def info(self, text: str) -> None:
        """A step of the work."""
        if self.level >= INFO:
            self._write(INFO, text)

    def debug(self, text: str) -> None:
        """Details."""
        if self.level >= DEBUG:
            self._write(DEBUG, text)


def _place(depth: int) -> str:
    frame = sys._getframe(depth)
    return _where(frame.f_code.co_filename, frame.f_lineno)


def _raised(e: BaseException) -> str:
    at = e.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return _where(at.tb_frame.f_code.co_filename, at.tb_lineno) if at else ""


def _where(name: str, line: int) -> str:
    return f"({name[name.rfind('engine/') :]}:{line}): "
