"""Who starts whom, and when: from pids, parents, sessions, groups and what tasks share, to clone3(2) by clone3.

A session is only inherited, so a task is started by somebody who is in that session at that moment: its parent, before
or after that becomes a session leader itself; a sibling, with CLONE_PARENT; or, where it lost its parent and was
adopted, a task further down, through one that ends at once. For sessions and process groups whose leader is gone a
helper takes the leader's pid for a while. Nothing here calls the kernel.
"""

from __future__ import annotations

from engine.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD, SIBLING, ORPHAN = range(3)
KINDS = ("vm", "files", "fs", "sighand")
OUTER = 0  # the session or group that the root task shares with whoever restores it


class Node:
    """A task to be started. Dead ones end once nobody needs them; a helper is a dead one that its parent reaps.

    `early` and `late` are its own clone3 calls, before and after setsid(2): (who, CHILD | SIBLING | ORPHAN).
    """

    __slots__ = (
        "adopts",
        "creator",
        "dead",
        "early",
        "exit_signal",
        "helper",
        "ids",
        "kids",
        "late",
        "parent",
        "pgid",
        "pid",
        "sid",
    )

    def __init__(self, pid: int, sid: int, pgid: int, parent: Node | None, exit_signal: int = 17) -> None:
        self.pid = pid
        self.sid = sid
        self.pgid = pgid
        self.parent = parent
        self.exit_signal = exit_signal
        self.kids: list[Node] = []
        self.dead = False
        self.helper = False
        self.ids: dict[str, int] = {}
        self.early: list[tuple[Node, int]] = []
        self.late: list[tuple[Node, int]] = []
        self.creator: Node | None = None
        self.adopts: list[Node] = []  # orphans that come to it, being a subreaper for that time
        if parent is not None:
            parent.kids.append(self)

    @property
    def leads_session(self) -> bool:
        """Does it call setsid(2)?"""
        return self.sid == self.pid

    @property
    def leads_group(self) -> bool:
        """Does it call setpgid(2) for itself?"""
        return self.pgid == self.pid and not self.leads_session

    @property
    def joins(self) -> bool:
        """Does it join somebody else's group? At birth everybody is in the group that bears its session's number."""
        return self.pgid not in (self.pid, self.sid)

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


def plan(nodes: list[Node]) -> list[Node]:
    """Complete the tree (parents first, the root's first): helpers added, everybody's creator and calls set.

    Returns all nodes, helpers included. EngineError for a tree that could not have come about.
    """
    root = nodes[0]
    _outer(nodes, root)
    _helpers(nodes)
    out = list(root.below())
    order = {node: i for i, node in enumerate(out)}
    first: dict[tuple[str, int], Node] = {}
    for node in out:
        for item in node.ids.items():
            first.setdefault(item, node)
    needed: dict[Node, int] = {}  # leader -> the session that it has to be born in
    for node in out[1:]:
        if not node.leads_session:
            _place(node, needed)
    for node in out[1:]:
        if node.leads_session:
            _place_leader(node, needed)
    for node in out[1:]:
        _share(node, order, first)
    _check(out)
    return out


def adopters(nodes: list[Node]) -> list[Node]:
    """Those that adopt orphans, in an order in which each finds there whom it needs."""

    def level(node: Node | None) -> int:
        count = 0
        while node is not None and node.creator is not None:
            count += (node, ORPHAN) in node.creator.late
            node = node.creator
        return count

    out = [node for node in nodes if node.adopts]
    return sorted(out, key=lambda node: max(level(node), *(level(other.creator) for other in node.adopts)))


def _outer(nodes: list[Node], root: Node) -> None:
    """With --shell-job the root's session and group become those of the engine."""
    pids = {node.pid for node in nodes}
    for what in ("sid", "pgid"):
        ident = getattr(root, what)
        if ident not in pids:
            for node in nodes:
                if getattr(node, what) == ident:
                    setattr(node, what, OUTER)


def _helpers(nodes: list[Node]) -> None:
    """Leaders that are gone: of sessions first, for groups are of a session."""
    pids = {node.pid for node in nodes}
    root = nodes[0]
    for node in nodes:
        if node.sid not in pids and node.sid != OUTER:
            pids.add(node.sid)
            _helper(node.sid, node.sid, node.parent or root)
    for node in nodes:
        if node.pgid not in pids and node.pgid != OUTER:
            pids.add(node.pgid)
            # started where its first member is started; a helper has no kids to be its parent's
            _helper(node.pgid, node.sid, node.parent or root)


def _helper(pid: int, sid: int, parent: Node) -> None:
    helper = Node(pid, sid, pid, parent)
    helper.dead = helper.helper = True


def _place(node: Node, needed: dict[Node, int]) -> None:
    """Find the creator of one that has to be born in its session."""
    sid, parent = node.sid, node.parent
    if parent is None:
        return
    if parent.sid == sid:
        _born(node, parent, parent.late, CHILD)
        return
    if _can_be_born_in(parent, sid, needed):
        _bear_early(parent, sid, needed)
        _born(node, parent, parent.early, CHILD)
        return
    leader = next((kid for kid in parent.kids if kid.pid == sid), None)
    if leader is not None:
        _born(node, leader, leader.late, SIBLING)
        return
    own = set(node.below())
    for other in parent.below():
        if (
            other.sid == sid
            and other not in own
            and other is not parent
            and not (other.helper and not other.leads_session)
        ):
            _born(node, other, other.late, ORPHAN)
            parent.adopts.append(node)
            return
    raise EngineError(f"pstree.img: pid {node.pid}: nobody of its session {sid} is where it could be started from")


def _can_be_born_in(leader: Node, sid: int, needed: dict[Node, int]) -> bool:
    """Could this session leader have been born in another session, that of its parent at the time?"""
    while leader.leads_session and needed.get(leader, sid) == sid:
        parent = leader.parent
        if parent is None:
            return sid == OUTER
        if parent.sid == sid:
            return True
        leader = parent
    return False


def _bear_early(leader: Node, sid: int, needed: dict[Node, int]) -> None:
    while leader.leads_session:
        needed[leader] = sid
        parent = leader.parent
        if parent is None or parent.sid == sid:
            return
        leader = parent


def _place_leader(node: Node, needed: dict[Node, int]) -> None:
    """A session leader is its parent's own child; born early where its own early children need that."""
    parent = node.parent
    if parent is None:
        return
    sid = needed.get(node)
    early = sid is not None and parent.sid != sid
    _born(node, parent, parent.early if early else parent.late, CHILD)


def _born(node: Node, creator: Node, calls: list[tuple[Node, int]], how: int) -> None:
    node.creator = creator
    calls.append((node, how))


def _share(node: Node, order: dict[Node, int], first: dict[tuple[str, int], Node]) -> None:
    """Somebody with whom it shares kernel objects has to start it, if its creator does not share them."""
    creator = node.creator
    if creator is None or node.dead:
        return
    wanted = {kind for kind, ident in node.ids.items() if first[kind, ident] is not node}
    if wanted <= set(node.shares_with(creator)):
        return
    for other in node.parent.kids if node.parent else ():
        fits = node.leads_session or other.sid == node.sid
        if other is not node and order[other] < order[node] and fits and wanted <= set(node.shares_with(other)):
            for calls in (creator.early, creator.late):
                calls[:] = [call for call in calls if call[0] is not node]
            _born(node, other, other.late, SIBLING)
            return
    raise EngineError(
        f"pid {node.pid}: it shares its {', '.join(sorted(wanted))} with one that is neither its parent nor its sibling"
    )


def _check(nodes: list[Node]) -> None:
    """Everybody must come, through creators, from the root, with the exit signal that this gives."""
    root = nodes[0]
    for node in nodes[1:]:
        seen = {node}
        at = node
        while at is not root:
            creator = at.creator
            if creator is None or creator in seen:
                raise EngineError(f"pstree.img: pid {node.pid} could only be started by one of its own descendants")
            seen.add(creator)
            at = creator
        if any(call == (node, SIBLING) for call in (node.creator.late if node.creator else ())):
            creator_signal = node.creator.exit_signal if node.creator else node.exit_signal
            if creator_signal != node.exit_signal:
                raise EngineError(
                    f"pid {node.pid}: its exit signal {node.exit_signal} cannot be set: it is started by its sibling "
                    f"with {creator_signal}"
                )
