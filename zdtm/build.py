"""Builds C programs on demand, into a cache that is keyed by everything that goes into them."""

import fcntl
import hashlib
import os
import platform
import subprocess
from pathlib import Path

from zdtm.failures import BuildFailed

CC = "gcc"
CFLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-D_GNU_SOURCE")
LIB = Path(__file__).parent / "lib"
TIMEOUT = 120  # seconds


def build(cache: Path, sources: tuple[Path, ...], flags: tuple[str, ...] = ()) -> Path:
    """Compile and link; returns the program, named after the first source. Raises BuildFailed.

    Safe when several processes want the same program: one builds under a lock, and the name appears when the
    program is whole.
    """
    key = _key(sources, flags)
    directory = cache / f"{sources[0].stem}-{key}"
    program = directory / sources[0].stem
    if program.exists():
        return program
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _compile(sources, flags, program)
    return program


def build_case(cache: Path, source: Path, flags: tuple[str, ...] = ()) -> Path:
    """A test program: its source and the harness's half in C."""
    return build(cache, (source, LIB / "zdtm.c"), (f"-I{LIB}", *flags))


def missing_32_bit(flags: tuple[str, ...]) -> str | None:
    """What is missing to build a 32-bit program where the flags ask for one."""
    for name in ("crt1.o", "libgcc.a") if "-m32" in flags else ():
        try:
            done = subprocess.run([CC, "-m32", f"-print-file-name={name}"], capture_output=True, text=True, timeout=30)
        except FileNotFoundError as error:
            raise BuildFailed(f"there is no {CC}: install the gcc package") from error
        if done.stdout.strip() in ("", name):
            return f"{name} for 32-bit programs: install gcc-multilib"
    return None


def _key(sources: tuple[Path, ...], flags: tuple[str, ...]) -> str:
    hasher = hashlib.sha256(repr((CC, CFLAGS, flags, platform.machine())).encode())
    for path in (*sources, *sorted(LIB.glob("*.h")), *sorted(sources[0].parent.glob("*.h"))):
        hasher.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:16]


def _compile(sources: tuple[Path, ...], flags: tuple[str, ...], program: Path) -> None:
    partial = program.with_suffix(".partial")
    # Libraries come after the objects that want them.
    ours = tuple(flag for flag in flags if not flag.startswith("-l"))
    libraries = tuple(flag for flag in flags if flag.startswith("-l"))
    command = [CC, *CFLAGS, *ours, "-o", str(partial), *map(str, sources), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError as error:
        raise BuildFailed(f"there is no {CC}: install the gcc package") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{CC} took longer than {TIMEOUT} s over {sources[0].name}") from error
    if done.returncode != 0:
        raise BuildFailed(f"{CC} refused {sources[0].name}", done.stderr.rstrip())
    os.rename(partial, program)
