"""What an item must not leave on the machine, told apart from what others do there meanwhile.

Under `-n 2`, and beside other users of the machine, something new is not ours just because it is new:
- processes: orphans below the item become children of the harness's process (a subreaper), so all of them are ours;
- mounts, and files in shared directories: ours when they name the item's directory, bear an engine's name, or
  belong to a user id that only tests have;
- cgroups below the harness's own, or with an engine's name, and firewall rules: another worker's engine has them for
  moments only, so what stays for GRACE seconds is reported.
Engines get a TMPDIR of the item's own, where nothing may remain.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from zdtm.flavours import FLAVOURS, USER
from zdtm.observe.mounts import parse
from zdtm.observe.proc import alive, read
from zdtm.waiting import poll, strays

GRACE = 3.0  # seconds
SHARED = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/run"), Path("/run/lock"))
CGROUPS = Path("/sys/fs/cgroup")
ENGINE_NAME = re.compile(r"(?:^|/)\.?(?:criu|crtools|cr-)")
# Caches of what the kernel can do; they are meant to stay.
CACHES = re.compile(r"^criu[.-]?(?:kdat|features|probes)|^criu\.kdat")
RULES = (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",))
TEST_UIDS = frozenset(f.outside_uid(USER.uid) for f in FLAVOURS.values()) | {
    f.outside_uid(0) for f in FLAVOURS.values() if f.uid_map
}
ELF_CORE = 4  # ET_CORE of elf(5)


@dataclass(frozen=True)
class Machine:
    """What is looked at before and after an item: descriptions of things, and the kernel's taint."""

    things: frozenset[str]
    rules: tuple[str, ...]
    taint: str


def look(directory: Path) -> Machine:
    """The machine as an item sees it that works in a directory."""
    things = {*_mounts(directory), *_files(), *_cgroups()}
    return Machine(frozenset(things), _rules(), Path("/proc/sys/kernel/tainted").read_text().strip())


def left(before: Machine, directory: Path) -> list[str]:
    """What is there now, and was not before, and does not go away; a line each."""
    found: list[str] = []

    def nothing_more() -> bool | None:
        now = look(directory)
        found[:] = sorted(now.things - before.things)
        if now.rules != before.rules:
            found.append("firewall rules have changed")
        if now.taint != before.taint:
            found.append(f"the kernel's taint is {now.taint}, was {before.taint}")
        return None if found else True

    poll(nothing_more, GRACE)
    return found + _cores(directory) + _temporary(directory)


def processes(before: set[int]) -> list[str]:
    """Stray processes that do not end by themselves; those that have are reaped."""

    def none_left() -> bool | None:
        for pid in strays(before):
            if not alive(pid):
                os.waitpid(pid, os.WNOHANG)
        return None if strays(before) else True

    poll(none_left, GRACE)
    return [f"process {pid}: {_command(pid)}" for pid in strays(before)]


def _command(pid: int) -> str:
    try:
        return read(pid, "cmdline").replace("\0", " ").strip() or read(pid, "comm").strip()
    except OSError:
        return "(gone)"


def _mounts(directory: Path) -> set[str]:
    found = set()
    for mount in parse(Path("/proc/self/mountinfo").read_text()):
        words = f"{mount.point} {mount.root} {mount.source}"
        if str(directory) in words or ENGINE_NAME.search(mount.point) or ENGINE_NAME.search(mount.source):
            found.add(f"mount {mount.point} ({mount.fstype}, {mount.root} of {mount.source})")
    return found


def _files() -> set[str]:
    found = set()
    for directory in SHARED:
        if not directory.is_dir():
            continue
        for entry in os.scandir(directory):
            try:
                owner = entry.stat(follow_symlinks=False).st_uid
            except FileNotFoundError:
                continue
            named = ENGINE_NAME.search(entry.name) and not CACHES.search(entry.name)
            if named or owner in TEST_UIDS:
                found.add(f"file {entry.path} of uid {owner}")
    return found


def _cgroups() -> set[str]:
    """Others make cgroups on a machine too: those next to the harness's own are theirs."""
    own = {line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    below = tuple(f"{path.rstrip('/')}/" for path in own)
    found = set()
    for path, _, _ in os.walk(CGROUPS):
        name = path.removeprefix(str(CGROUPS))
        inner = "/" + name[1:].partition("/")[2]  # below the hierarchy's mount point
        if inner.startswith(below) or name.startswith(below) or ENGINE_NAME.search(name):
            found.add(f"cgroup {path}")
    return found


def _rules() -> tuple[str, ...]:
    rules = []
    for command in RULES:
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            # Packet counters and dates of iptables-save change by themselves.
            lines = (re.sub(r"\[\d+:\d+\]", "", x) for x in done.stdout.splitlines() if not x.startswith("#"))
            rules.append("\n".join(lines))
    return tuple(rules)


def _cores(directory: Path) -> list[str]:
    found = []
    for base, _, names in os.walk(directory):
        for name in names:
            path = Path(base, name)
            if path.is_file() and not path.is_symlink():
                with open(path, "rb") as f:
                    head = f.read(18)
                if head[:4] == b"\x7fELF" and head[16] == ELF_CORE:
                    found.append(f"core dump {path}")
    return found


def _temporary(directory: Path) -> list[str]:
    return [f"temporary file {path}" for path in sorted((directory / "tmp").glob("*"))]
