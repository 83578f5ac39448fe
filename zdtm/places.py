"""Where the suite builds, and where an item of it works and leaves what it has to show."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FALLBACK = Path("/var/tmp/zdtm")


@dataclass(frozen=True)
class Places:
    """Two directories, programs (a cache) and artefacts (a directory an item), and a lock file."""

    programs: Path
    artefacts: Path
    lock: Path


def places(rootpath: Path) -> Places:
    """Below build/ of the checkout, or below /var/tmp where the tests' unprivileged user may not go there."""
    base = rootpath / "build"
    base.mkdir(exist_ok=True)
    lock = base / "machine.lock"
    if not all(os.stat(p).st_mode & 0o001 for p in (base, *base.parents)):
        base = FALLBACK
    return Places(base / "zdtm", base / "artefacts", lock)


@contextmanager
def machine(places: Places, *, alone: bool = False) -> Iterator[None]:
    """Items share the machine; what leaves things on it on purpose has it alone, so that no item is blamed for it."""
    with open(places.lock, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@contextmanager
def item_directory(artefacts: Path, name: str) -> Iterator[Path]:
    """An empty directory of that name, or of a numbered one while another session has the name; held until the end."""
    artefacts.mkdir(parents=True, exist_ok=True)
    for number in range(1, 100):
        path = artefacts / (name if number == 1 else f"{name}.{number}")
        held = _hold(path)
        if held is None:
            continue
        try:
            _empty(path)
            yield path
        finally:
            os.close(held)
        return
    raise RuntimeError(f"{artefacts}/{name}: a hundred sessions use it")


def remove(path: Path) -> None:
    """Remove a directory with everything in it."""
    shutil.rmtree(path)


def _hold(path: Path) -> int | None:
    while True:
        path.mkdir(exist_ok=True)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        # Whoever held it before may have removed it in between: then the lock is on a directory without a name.
        if path.exists() and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
        os.close(fd)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
