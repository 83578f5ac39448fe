"""What this kernel can do for this user: asked once a boot, kept in a small file of the user's own.

The file is a line of who, where and what asked, a line for each answer, and an end. It is believed only when all of
it is as it should be: ours, private, of this boot, kernel, user namespace and set of capabilities, of these probes.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX = 8192  # bytes of a cache file
END = "end"
_ANSWERS = {"yes": True, "no": False}


def _key() -> str:
    """Everything that an answer depends on, in one line."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot = f.read().strip()
    with open("/proc/self/status", "rb") as b:
        status = b.read()
    rights = [
        line.split(b"\t")[1].decode() for line in status.split(b"\n") if line.startswith((b"CapEff", b"Seccomp:"))
    ]
    system = os.uname()
    probes = 0
    with os.scandir(os.path.join(os.path.dirname(__file__), "probes")) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                about = entry.stat()
                probes ^= about.st_mtime_ns ^ about.st_size << 40 ^ about.st_ino
    return " ".join(
        (
            *("zdtm-features", boot, system.release, system.version.replace(" ", "_"), str(os.geteuid()), *rights),
            *(os.readlink("/proc/self/ns/user"), f"{probes:x}"),
        )
    )


def _folder() -> str:
    """Where the cache is kept; nothing when there is no such place."""
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return "/run"
    return os.environ.get("XDG_RUNTIME_DIR", "")


class Features:
    """Answers, known or asked for on demand."""

    __slots__ = ("_answers", "_key", "_path")

    def __init__(self, path: str, key: str, answers: dict[str, bool]) -> None:
        self._path = path
        self._key = key
        self._answers = answers

    @classmethod
    def load(cls, folder: str | None = None) -> Features:
        """What is known from earlier on; `folder` is where the cache is, if not at its usual place."""
        folder = _folder() if folder is None else folder
        key = _key()
        path = os.path.join(folder, f"zdtm-features-{os.geteuid()}") if folder else ""
        return cls(path, key, _read(path, key) if path else {})

    def has(self, name: str) -> bool:
        """Is the feature there? KeyError when there is no feature of this name."""
        return self.ask((name,))[name]

    def ask(self, names: Iterable[str], again: bool = False) -> dict[str, bool]:
        """Answers for several; `again`: what was missing earlier on may be there by now (a module, a sysctl)."""
        names = tuple(names)
        known = self._answers
        new = [n for n in names if n not in known or (again and not known[n])]
        if new:
            from engine.kernel.probes import probe

            before = dict(known)
            for name in new:
                row = probe(name)
                if row is None:
                    raise KeyError(name)
                known[name] = row()
            if known != before:
                self._write()
        return {n: known[n] for n in names}

    def _write(self) -> None:
        if not self._path:
            return
        lines = [self._key, *(f"{name} {'yes' if there else 'no'}" for name, there in self._answers.items()), END]
        temporary = f"{self._path}.{os.getpid()}"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # asked again next time
        try:
            os.write(fd, ("\n".join(lines) + "\n").encode())
            os.rename(temporary, self._path)
        except OSError:
            os.unlink(temporary)
        finally:
            os.close(fd)


def _read(path: str, key: str) -> dict[str, bool]:
    """The answers in a cache file; none at all when anything is wrong with it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return {}
        lines = os.read(fd, MAX).decode("ascii").split("\n")
        if lines[0] != key or lines[-2:] != [END, ""]:
            return {}
        return {name: _ANSWERS[answer] for name, answer in (line.split(" ") for line in lines[1:-2])}
    except (OSError, ValueError, KeyError):
        return {}
    finally:
        os.close(fd)
