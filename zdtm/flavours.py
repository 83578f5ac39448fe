"""The surroundings that every case is checkpointed in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """Who runs a test: ids as seen inside, with one extra group."""

    uid: int
    gid: int
    group: int


@dataclass(frozen=True)
class Range:
    """One line of a uid_map or gid_map."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


@dataclass(frozen=True)
class Flavour:
    """One row: namespaces or not, and the id maps of the user namespace if there is one."""

    name: str
    title: str
    namespaces: bool  # pid, mnt with an own root, net, ipc, uts, and a first process that reaps
    uid_map: tuple[Range, ...] = ()
    gid_map: tuple[Range, ...] = ()

    def outside_uid(self, inside: int) -> int:
        """The uid that the harness sees for one of the tree's."""
        return _outside(self.uid_map, inside)

    def outside_gid(self, inside: int) -> int:
        """The gid that the harness sees for one of the tree's."""
        return _outside(self.gid_map, inside)


def _outside(ranges: tuple[Range, ...], inside: int) -> int:
    if not ranges:
        return inside
    for r in ranges:
        if r.inside <= inside < r.inside + r.count:
            return r.outside + inside - r.inside
    raise ValueError(f"id {inside} is not mapped")


USER = User(18943, 58467, 58468)

# The maps are split below USER's ids, so that root and the user come out of different ranges, and the uid and
# gid maps differ, so that a mix-up shows.
FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("host", "a session of its own on the host", namespaces=False),
        Flavour("ns", "pid, mount, net, ipc and uts namespaces with a private root", namespaces=True),
        Flavour(
            "userns",
            "the same inside a user namespace with a split map",
            namespaces=True,
            uid_map=(Range(0, 300000, 10000), Range(10000, 500000, 55536)),
            gid_map=(Range(0, 400000, 10000), Range(10000, 600000, 55536)),
        ),
    )
}
