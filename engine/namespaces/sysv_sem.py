"""System V semaphores: ipcns-sem-ID.img.

What a process is to undo at its end (SEM_UNDO) the kernel tells nobody. It does it when the process is killed, after
the dump: then it is seen, and noted. Of a tree that runs on it cannot be known.

Who was last to change one, and when, cannot be restored.
"""

from __future__ import annotations

import struct

from engine.errors import BadImage
from engine.kernel import sysvipc
from engine.namespaces import sysv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.user import Ids
    from engine.plan.program import Program

_IMAGE = "IPCNS_SEM"
_SEMBUF = struct.Struct("<HhH")
_IPC_NOWAIT, _SEM_UNDO = 0o4000, 0x1000
_MIDDLE = 1 << 14
_MOST, _VALUE_MAX = 32000, 32767  # SEMMSL, as `ipc.restore` sets it, and SEMVMX


def dump(ctx: Context, images: Images, ident: int, ids: Ids) -> None:
    """Write all sets of the IPC namespace that the engine is in; without any, there is no image."""
    entries = []
    for row in sysvipc.listed(sysvipc.SEM):
        entry = ctx.schema.message("ipc_sem_entry")(nsems=row["nsems"])
        number = sysv.describe(entry.desc, sysvipc.SEM, row, ids)
        values = sysvipc.sem_values(number, entry.nsems)
        entries.append((entry, values + bytes(-len(values) % 8)))
    if entries:
        images.write_payload(_IMAGE, (ident,), entries)


class Undo:
    """What processes undo when they are killed, one after the other; the engine is in their IPC namespace."""

    __slots__ = ("_found", "_images", "_inner", "_number", "_sets")

    def __init__(self, images: Images, number: int, inner: Callable[[int], int]) -> None:
        self._images = images
        self._number = number
        self._inner = inner  # what the tree calls a pid
        self._sets: dict[int, list[int]] = {}
        self._found: list[tuple[int, int, int, int]] = []  # (pid, id of the set, number, by how much)
        for row in sysvipc.listed(sysvipc.SEM):
            ident, count = row["semid"], row["nsems"]
            # the kernel stops at 0 and at the largest value, so all are set right between them
            for i, value in enumerate(_values(ident, count)):
                if value != _MIDDLE:
                    sysvipc.semop(ident, i, _MIDDLE - value)
            self._sets[ident] = [_MIDDLE] * count

    def ended(self, pid: int) -> None:
        """Look at what the end of a process has changed."""
        for ident, before in self._sets.items():
            now = _values(ident, len(before))
            if now != before:
                changes = [b - a for a, b in zip(before, now, strict=True)]
                self._found += [(pid, ident, i, change) for i, change in enumerate(changes) if change]
                self._sets[ident] = now

    def write(self) -> None:
        """Add it to the image."""
        if not self._found:
            return
        entries = self._images.read_payload(_IMAGE, self._number)
        for entry, _ in entries:
            for pid, ident, i, adjust in self._found:
                if ident == entry.desc.id:
                    entry.undo.add(pid=self._inner(pid), number=i, adjust=adjust)
        self._images.write_payload(_IMAGE, (self._number,), entries)


def _values(ident: int, count: int) -> list[int]:
    return memoryview(sysvipc.sem_values(ident, count)).cast("H").tolist()


def undo(images: Images, ident: int) -> dict[int, list[tuple[int, int, int, int]]]:
    """By pid, what a task's end is to change: (id of the set, number of the semaphore, by how much, its value)."""
    out: dict[int, list[tuple[int, int, int, int]]] = {}
    if images.exists(_IMAGE, ident):
        for entry, raw in images.read_payload(_IMAGE, ident):
            values = memoryview(raw[: entry.nsems * 2]).cast("H")
            for u in entry.undo:
                out.setdefault(u.pid, []).append((entry.desc.id, u.number, u.adjust, values[u.number]))
    return out


def plan(program: Program, changes: list[tuple[int, int, int, int]]) -> None:
    """Change semaphores and change them back at once, but the one way with SEM_UNDO: that is what is left to undo."""
    for ident, number, adjust, value in changes:
        back = _SEMBUF.pack(number, -adjust, _IPC_NOWAIT | _SEM_UNDO)
        forth = _SEMBUF.pack(number, adjust, _IPC_NOWAIT)
        # all of a call is done or nothing, and no value may pass a limit on the way
        raw = forth + back if 0 <= value + adjust <= _VALUE_MAX else back + forth
        note = f"semaphore {number} of set {ident} will change by {adjust:+} at its end"
        program.sys("semop", ident, program.arena.put(raw), 2, note=note)


def check(images: Images, ident: int) -> None:
    """BadImage for sets that cannot be."""
    if not sysv.check(images, _IMAGE, ident):
        return
    name = images.name(_IMAGE, ident)
    for entry, raw in images.read_payload(_IMAGE, ident):
        if not 0 < entry.nsems <= _MOST:
            raise BadImage(name, 0, f"set {entry.desc.id} has {entry.nsems} semaphores, not 1 to {_MOST}; dump again")
        if any(u.number >= entry.nsems or not 0 < abs(u.adjust) <= _VALUE_MAX for u in entry.undo):
            raise BadImage(name, 0, f"set {entry.desc.id} has something to undo that cannot be; dump again")
        if max(memoryview(raw[: entry.nsems * 2]).cast("H")) > _VALUE_MAX:
            raise BadImage(name, 0, f"set {entry.desc.id} has a value above {_VALUE_MAX}; dump again")


def restore(ctx: Context, images: Images, ident: int) -> None:
    """Make them."""
    if not images.exists(_IMAGE, ident):
        return
    name = images.name(_IMAGE, ident)
    for entry, raw in images.read_payload(_IMAGE, ident):
        count = entry.nsems

        def get(key: int, mode: int, count: int = count) -> int:
            return sysvipc.semget(key, count, mode)

        sysv.make(sysvipc.SEM, entry.desc, name, get)
        sysvipc.set_sem_values(entry.desc.id, raw[: count * 2])
        sysv.own(sysvipc.SEM, entry.desc)
