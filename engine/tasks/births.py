"""Who starts whom, and when: from pids, parents, sessions, groups and what tasks share, to clone3(2) by clone3.

A session is only inherited, so a task is started by somebody who is in that session at that moment: its parent, before
or after that becomes a session leader itself; the session's leader, with CLONE_PARENT; or, where it lost its parent and
was adopted, that leader again, through one that ends at once. For sessions and process groups whose leader is gone a
helper takes the leader's pid for a while. Nothing here calls the kernel.
"""

from __future__ import annotations

from engine.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHILD, SIBLING, ORPHAN = range(3)
BEAR, SETSID, ADOPT, BEAR_ORPHAN = range(4)
KINDS = ("vm", "files", "fs", "sighand")
OUTER = 0  # the session or group that the root task shares with whoever restores it
SIGCHLD = 17


class Node:
    """A task to be started. Dead ones end once nobody needs them; a helper is a dead one that its parent reaps.

    `creator` starts it, as its CHILD, its SIBLING, or an ORPHAN that comes to its parent; `is_early`: before the
    creator's own setsid(2). `bears` are those that it starts itself.
    """

    __slots__ = (
        "bears",
        "creator",
        "dead",
        "exit_signal",
        "helper",
        "how",
        "ids",
        "is_early",
        "joins",
        "kids",
        "parent",
        "pgid",
        "pid",
        "sid",
        "turn",
    )

    def __init__(self, pid: int, sid: int, pgid: int, parent: Node | None, exit_signal: int = SIGCHLD) -> None:
        self.pid = pid
        self.sid = sid
        self.pgid = pgid
        self.parent = parent
        self.exit_signal = exit_signal
        self.kids: list[Node] = []
        self.dead = False
        self.helper = False
        self.ids: dict[str, int] = {}
        self.creator: Node | None = None
        self.how = CHILD
        self.is_early = False
        self.bears: list[Node] = []
        # somebody else's group: at birth everybody is in the one that bears its session's number
        self.joins = False
        self.turn = 0  # of one that joins, but leads a group of others before: how many have to have joined by then
        if parent is not None:
            parent.kids.append(self)

    @property
    def leads_session(self) -> bool:
        """Does it call setsid(2)?"""
        return self.sid == self.pid

    @property
    def leads_group(self) -> bool:
        """Does it call setpgid(2) for itself, and stay in that group?"""
        return self.pgid == self.pid and not self.leads_session

    def below(self) -> Iterator[Node]:
        """It and all of its descendants, parents first."""
        todo = [self]
        while todo:
            node = todo.pop()
            yield node
            todo += reversed(node.kids)

    def shares_with(self, creator: Node) -> list[str]:
        """The kinds of kernel objects that it has in common with who starts it."""
        return [kind for kind in KINDS if kind in self.ids and self.ids[kind] == creator.ids.get(kind)]


class Stage:
    """Orphans that come to one adopter, while nobody else is a subreaper."""

    __slots__ = ("adopter", "orphans")

    def __init__(self, adopter: Node) -> None:
        self.adopter = adopter
        self.orphans: list[Node] = []


def plan(nodes: list[Node], gone: Iterable[int] = ()) -> list[Node]:
    """Complete the tree (parents first, the root's first): helpers added, everybody's creator and calls set.

    `gone` are pids that have to be somebody's for a while: procfs files of theirs are open.
    Returns all nodes, helpers included. EngineError for a tree that could not have come about.
    """
    root = nodes[0]
    _outer(nodes, root)
    sessions = _Sessions(nodes)
    _group_helpers(nodes)
    for pid in sorted(set(gone) - {node.pid for node in root.below()}):
        _helper(pid, root.sid, root)
    out = list(root.below())
    for node in out[1:]:
        if not node.leads_session:
            sessions.place(node)
    for node in out[1:]:
        if node.creator is None:
            _born(node, node.parent or root, CHILD)
    _share(out, sessions)
    _check(out)
    for node in out[1:]:
        if node.creator is not None:
            node.creator.bears.append(node)
    _groups(out)
    return out


def stages(nodes: list[Node]) -> list[Stage]:
    """The adoptions, one after the other, so that each finds there whom it needs."""
    level = {nodes[0]: 0}  # how many adoptions come before it is started
    for node in nodes:
        chain = []
        at: Node | None = node
        while at is not None and at not in level:
            chain.append(at)
            at = at.creator
        for one in reversed(chain):
            level[one] = level[one.creator or nodes[0]] + (one.how == ORPHAN)
    found: dict[tuple[int, int], Stage] = {}
    for node in nodes:
        if node.how == ORPHAN and node.parent is not None:
            found.setdefault((level[node], node.parent.pid), Stage(node.parent)).orphans.append(node)
    return [found[key] for key in sorted(found)]


def steps(node: Node, adoptions: list[Stage]) -> list[tuple[int, Node, int]]:
    """What a task does to have the tree come about, in order: (BEAR | BEAR_ORPHAN | SETSID | ADOPT, who, stage)."""
    out = [(BEAR, other, 0) for other in node.bears if other.is_early]
    if node.leads_session:
        out.append((SETSID, node, 0))
    out += [(BEAR, other, 0) for other in node.bears if not other.is_early and other.how != ORPHAN]
    if adoptions:
        orphans = {other for other in node.bears if other.how == ORPHAN}
        for number, stage in enumerate(adoptions):
            if stage.adopter is node:
                out.append((ADOPT, node, number))
            if orphans:
                out += [(BEAR_ORPHAN, other, number) for other in stage.orphans if other in orphans]
    return out


def _outer(nodes: list[Node], root: Node) -> None:
    """With --shell-job the root's session and group become those of the engine; so does that session's first group."""
    pids = {node.pid for node in nodes}
    outside = {ident for ident in (root.sid, root.pgid) if ident not in pids}
    for node in nodes:
        if node.sid == root.sid and node is not root and node.sid in outside:
            node.sid = OUTER
        if node.pgid in outside:
            node.pgid = OUTER
    if root.sid in outside:
        root.sid = OUTER


def _helper(pid: int, sid: int, parent: Node) -> Node:
    helper = Node(pid, sid, pid, parent)
    helper.dead = helper.helper = True
    return helper


def _group_helpers(nodes: list[Node]) -> None:
    """Groups whose leader is gone: a live member has a child lead it."""
    pids = {node.pid for node in nodes}
    for node in sorted(nodes, key=lambda node: node.dead):
        if node.pgid not in pids and node.pgid not in (OUTER, node.sid):
            pids.add(node.pgid)
            _helper(node.pgid, node.sid, node.parent if node.dead and node.parent else node)


def _born(node: Node, creator: Node, how: int, is_early: bool = False) -> None:
    node.creator = creator
    node.how = how
    node.is_early = is_early


class _Sessions:
    """The leaders of sessions, helpers for those that are gone included; who is above whom."""

    __slots__ = ("_first", "_last", "_leaders", "born_in")

    def __init__(self, nodes: list[Node]) -> None:
        self._leaders = {node.pid: node for node in nodes if node.leads_session}
        self.born_in: dict[Node, int] = {}  # leaders that have to be born in a certain session
        self._first: dict[Node, int] = {}  # of the numbers of those below a node
        self._last: dict[Node, int] = {}
        for number, node in enumerate(nodes[0].below()):
            self._first[node] = number
        for node in sorted(nodes, key=lambda node: -self._first[node]):
            self._last[node] = max((self._last[kid] for kid in node.kids), default=self._first[node])
        members: dict[int, list[Node]] = {}
        for node in nodes:
            if node.sid != OUTER and node.sid not in self._leaders:
                members.setdefault(node.sid, []).append(node)
        for sid, those in members.items():
            self._leaders[sid] = self._gone(sid, those)

    def is_above(self, node: Node, other: Node) -> bool:
        """Is it an ancestor, or the same?"""
        return self._first[node] <= self._first[other] <= self._last[node]

    def _gone(self, sid: int, members: list[Node]) -> Node:
        """The helper for a leader that is gone, as a child of the lowest from which all can be started."""
        parents = dict.fromkeys(node.parent for node in members)
        chains = [chain for parent in parents if parent is not None and (chain := self._chain(parent, sid))]
        places = sorted({place for chain in chains for place in chain}, key=lambda place: -self._first[place])
        for place in places:
            if all(any(self.is_above(one, place) for one in chain) for chain in chains):
                helper = _helper(sid, sid, place)
                # its siblings by CLONE_PARENT have its exit signal
                helper.exit_signal = next(
                    (n.exit_signal for n in members if n.parent is place and n.exit_signal != SIGCHLD), SIGCHLD
                )
                return helper
        pids = [node.pid for node in members]
        raise EngineError(f"pstree.img: session {sid}: pids {pids} cannot have been started by the same leader")

    def _chain(self, parent: Node, sid: int) -> list[Node]:
        """Who could be above the leader: the parent of a member, or, if that was born in the session too, its, ...

        Empty for a parent that is a member, or was born to one.
        """
        out = []
        at: Node | None = parent
        while at is not None:
            if at.sid == sid:
                return []
            out.append(at)
            at = at.parent if at.leads_session else None
        return out

    def place(self, node: Node) -> None:
        """Find the creator of one that leads no session, and of leaders that therefore have to be born in a session."""
        sid = node.sid
        leader = self._leaders.get(sid)
        while True:
            parent = node.parent
            if parent is None or parent.sid == sid:
                _born(node, parent or node, CHILD)
                return
            if leader is not None and leader.parent is not None and self.is_above(parent, leader.parent):
                _born(node, leader, self._by_leader(node, parent, leader))
                return
            if not parent.leads_session or parent.parent is None or self.born_in.setdefault(parent, sid) != sid:
                raise EngineError(
                    f"pstree.img: pid {node.pid}: nobody of its session {sid} is where it could be started from"
                )
            _born(node, parent, CHILD, True)
            if parent.creator is not None:
                return
            node = parent

    def _by_leader(self, node: Node, parent: Node, leader: Node) -> int:
        if leader.parent is parent and (node.helper or node.exit_signal == leader.exit_signal):
            return SIBLING
        if node.exit_signal != SIGCHLD:
            raise EngineError(
                f"pid {node.pid}: its exit signal {node.exit_signal} cannot be set: its session's leader, pid "
                f"{leader.pid}, has another"
            )
        return ORPHAN


def _share(nodes: list[Node], sessions: _Sessions) -> None:
    """Of those that share a kernel object, all but the first started have to be started by another one of them."""
    having: dict[tuple[str, int], list[Node]] = {}
    for node in nodes:
        for item in node.ids.items():
            having.setdefault(item, []).append(node)
    for (kind, ident), those in having.items():
        apart = [node for node in those if node.creator is None or node.creator.ids.get(kind) != ident]
        for node in reversed(apart):
            if len(apart) > 1 and _start_otherwise(node, those, sessions):
                apart.remove(node)
        if len(apart) > 1:
            one, other = apart[-1].pid, apart[0].pid
            raise EngineError(f"pid {one}: it shares its {kind} with pid {other}, but none of those could start it")


def _start_otherwise(node: Node, others: list[Node], sessions: _Sessions) -> bool:
    """Let one of others start it, without giving up what it shares with its creator of now."""
    parent, now = node.parent, node.creator
    if parent is None or now is None:
        return False
    sid = sessions.born_in.get(node) if node.leads_session else node.sid
    shared = set(node.shares_with(now))
    for other in others:
        if sid not in (None, other.sid) or not shared <= set(node.shares_with(other)) or _comes_from(other, node):
            continue
        if other is parent:
            _born(node, other, CHILD)
        elif other.parent is parent and other.exit_signal == node.exit_signal:
            _born(node, other, SIBLING)
        elif sessions.is_above(parent, other) and node.exit_signal == SIGCHLD:
            _born(node, other, ORPHAN)
        else:
            continue
        return True
    return False


def _comes_from(node: Node, other: Node) -> bool:
    at: Node | None = node
    while at is not None and at is not other:
        at = at.creator
    return at is other


def _check(nodes: list[Node]) -> None:
    """Everybody must come, through creators, from the root."""
    known = {nodes[0]}
    for node in nodes:
        seen: dict[Node, None] = {}
        at = node
        while at not in known:
            if at in seen or at.creator is None:
                raise EngineError(f"pstree.img: pid {node.pid} could only be started by one of its own descendants")
            seen[at] = None
            at = at.creator
        known.update(seen)


def _groups(nodes: list[Node]) -> None:
    """Who joins a group, and in which order those that leave a group of others behind."""
    led = {node.pgid for node in nodes if node.pgid != node.pid}
    leavers = {node.pid: node for node in nodes if node.pid in led and node.pgid != node.pid}
    for node in nodes:
        node.joins = node.pgid != node.pid and (node.pgid != node.sid or node.pid in leavers)
    turn = sum(node.joins for node in nodes) - len(leavers)
    kept = {node.pgid for node in nodes if node.pid not in leavers}  # by those that join before anybody leaves
    ready = [node for pid, node in leavers.items() if pid in kept]
    for node in ready:
        node.turn = turn
        turn += 1
        if node.pgid in leavers and node.pgid not in kept:
            kept.add(node.pgid)
            ready.append(leavers[node.pgid])
    if len(ready) < len(leavers):
        pids = sorted(leavers.keys() - {node.pid for node in ready})
        raise EngineError(f"pids {pids} are in each other's process groups: this cannot be made again")
