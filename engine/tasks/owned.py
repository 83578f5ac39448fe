"""Births in user namespaces below the tree's: of pid namespaces that belong to one, and of all who descend from those.

Who makes such a pid namespace has to be in the user namespace that it is to belong to, and its first process is so from
birth. A helper goes there, and starts that as its sibling. Nobody in there may choose pids further out (set_tid of
clone3(2)): for each birth the coordinator sets what the next one in the root task's namespace is (`ns_last_pid`). Nor
may they take files of the opener: they do so of its proxy in there (engine/namespaces/proxy.py).
"""

from __future__ import annotations

from engine.errors import EngineError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.plan.program import Arena
    from engine.tasks.births import Node
    from engine.tasks.compile import Compiler
    from engine.tasks.images import TaskImages, TreeImages


class Turn:
    """One birth: who starts it is `here`, may `go` on, and has `done` it. `pid` is the one in the root's namespace.

    `levels` are the pids that cannot be chosen, with the first process of each of these namespaces, and what somebody
    who goes there for a moment is called; the root task's, the last, has neither.
    """

    __slots__ = ("done", "go", "here", "levels", "pid", "stays")

    def __init__(self, arena: Arena, levels: list[tuple[int, int, list[int]]], stays: bool) -> None:
        self.levels = levels
        self.pid = levels[-1][0]
        self.stays = stays  # else it ends at once
        self.here, self.go, self.done = arena.reserve(4), arena.reserve(4), arena.reserve(4)


class Owned:
    """The user namespaces that tasks are born in, by their numbers in the images; 0 is the tree's own."""

    __slots__ = ("_born", "_firsts", "_owners", "_tree", "_users")

    def __init__(self, tree: TreeImages) -> None:
        self._tree = tree
        self._users = tree.users
        self._owners = tree.owners("pid")
        self._born: dict[int, int] = {}  # by pid
        self._firsts: dict[int, int] = {}  # by pid: the first process by which it has come to be born there
        if self._owners:
            for node in sorted(tree.nodes, key=_depth):
                self._add(node)

    def _add(self, node: Node) -> None:
        creator = node.creator
        self._born[node.pid] = here = self.born_in(creator.pid) if creator else 0
        if creator:
            self._firsts[node.pid] = self._firsts.get(creator.pid, 0)
        space = self._tree.numbers.space(node.pid)
        if space and self._tree.numbers.first.get(space[-1]) == node.pid:
            there = self._owners.get(space[-1], 0)
            if there != here:
                self._born[node.pid] = there
                self._firsts[node.pid] = node.pid
        self._check(node, here)

    def _check(self, node: Node, here: int) -> None:
        there = self._born[node.pid]
        what = f"pid {node.pid}: its pid namespace belongs to user namespace {there},"
        if not self._is_below(there, here):
            raise EngineError(f"{what} and it cannot be started from {here}; dump again")
        if there != here and (node.how or node.is_early):
            raise EngineError(f"{what} and its session is not one that its parent could have started it in")
        task = None if node.dead else self._tree.by_pid()[node.pid]
        ident = task.namespace("user") if task else there
        if not self._is_below(ident if ident in self._users else 0, there):
            raise EngineError(f"{what} which it is not in: its parent cannot have started it; dump the whole tree")

    def _is_below(self, ident: int, other: int) -> bool:
        """Is a user namespace another one, or further below?"""
        while ident and ident != other:
            ident = self._above(ident)
        return ident == other

    def _above(self, ident: int) -> int:
        above = int(self._users[ident].parent)
        return above if above in self._users else 0

    def born_in(self, pid: int) -> int:
        """The number of the user namespace that a task is in from birth; 0: that of the tree, which it may leave."""
        return self._born.get(pid, 0)

    def visits(self) -> dict[int, int]:
        """By the first process of a pid namespace: how many enter that who are in a user namespace from birth."""
        numbers = self._tree.numbers
        firsts = [
            numbers.first.get(task.for_children("pid") or 0) for task in self._tree.live() if self.born_in(task.pid)
        ]
        for node in self._tree.nodes:
            if node.creator and self.born_in(node.creator.pid):
                firsts.append(numbers.way(node.creator, node)[1])
        return {pid: firsts.count(pid) for pid in firsts if pid}

    def spaces(self) -> set[int]:
        """Those that anybody is born in, but for the tree's."""
        return {ident for ident in self._born.values() if ident}

    def enters(self, creator: Node, node: Node) -> int:
        """The user namespace that a task is born in and who starts it is not, 0 for none."""
        there = self.born_in(node.pid)
        return there if there != self.born_in(creator.pid) else 0

    def chosen(self, user: int, spaces: tuple[int, ...]) -> int:
        """How many of the pids of a birth in these pid namespaces who is in a user namespace may choose."""
        count = 0
        for ident in reversed(spaces):
            if not self._is_below(self._owners.get(ident, 0), user):
                break
            count += 1
        return count

    def turn(self, c: Compiler, spaces: tuple[int, ...], tids: list[int], count: int, stays: bool) -> Turn:
        """For a birth of whose pids only so many of the innermost can be chosen. EngineError if it cannot be."""
        numbers = self._tree.numbers
        levels: list[tuple[int, int, list[int]]] = []
        for ident, pid in zip(spaces[: len(spaces) - count][::-1], tids[count:], strict=False):
            first = numbers.first[ident]
            levels.append((pid, first, numbers.passing(first, c.free_pid())))
        rest = tids[count + len(levels) :]
        if len(rest) != 1:
            what = f"pids {rest}: these cannot be chosen outside of the tree: restore without --outer-pids"
            raise EngineError(what)
        return Turn(c.arena, [*levels, (rest[0], 0, [])], stays)

    def credentials(self, pid: int) -> Born | None:
        """Who a task is at birth; None for one that is the engine's root."""
        user = self.born_in(pid)
        if not user:
            return None
        first = self._tree.by_pid()[self._firsts[pid]]
        core = first.core
        return Born(
            core.thread_core.creds if core.HasField("thread_core") else None, self._ids(user), self._users[user]
        )

    def inside(self, task: TaskImages) -> Born:
        """Who a thread is at birth whose process is in its user namespace already."""
        user = task.namespace("user")
        return Born(task.core.thread_core.creds, self._ids(user), self._users[user])

    def _ids(self, user: int) -> list[Any]:
        """The maps on the way from the tree's user namespace to one below."""
        from engine.namespaces.user import Ids

        out: list[Any] = []
        while user:
            out.insert(0, Ids.of_entry(self._users[user]))
            user = self._above(user)
        return out


class Born:
    """A task that is in a user namespace from birth: `creds` is who it is then (None: root), in the tree's ids."""

    __slots__ = ("_maps", "creds", "denied")

    def __init__(self, creds: Any, maps: list[Any], entry: Any) -> None:
        self.creds = creds
        self._maps = maps
        self.denied = bool(entry.setgroups_denied)

    def uid(self, uid: int) -> int:
        """What it calls a user of the tree. Unsupported for one that it knows nothing of."""
        for ids in self._maps:
            uid = ids.uid_inside(uid)
        return uid

    def gid(self, gid: int) -> int:
        """The same of a group."""
        for ids in self._maps:
            gid = ids.gid_inside(gid)
        return gid

    def groups(self, groups: list[int]) -> list[int]:
        """The same of all groups."""
        if self.denied:
            raise Unsupported(["its groups are others than at its birth, and its user namespace denies setgroups(2)"])
        return [self.gid(gid) for gid in groups]


def _depth(node: Node) -> int:
    """Creators come before those that they start."""
    depth = 0
    while node.creator is not None:
        node = node.creator
        depth += 1
    return depth
