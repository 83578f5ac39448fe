"""What belongs to user namespaces below the tree's: what is locked is found out, bad images are refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import BadImage
from engine.kernel import mountinfo, mounts
from engine.mounts import locks as mnt_locks
from engine.mounts.tree import Tree
from engine.tasks.images import TreeImages
from zdtm.tests.worlds import run_in, world


def test_what_is_locked(tmp_path: Path) -> None:
    """All that was copied but the root, with its flags; nothing that was mounted there, unless below what is bound."""
    inner, bind = tmp_path / "inner", tmp_path / "bind"
    inner.mkdir()
    bind.mkdir()

    def mount() -> None:
        mounts.mount("inner", str(inner), "tmpfs", mounts.MS_NODEV)
        mounts.mount("/proc", str(bind), None, mounts.MS_BIND | mounts.MS_REC)

    def look(pid: int) -> tuple[Tree, mnt_locks.Locks]:
        tree = Tree(9, pid, mountinfo.read(pid))
        return tree, mnt_locks.look(tree)

    with world(("user", "mnt"), mount) as (pid, _):
        before = Path(f"/proc/{pid}/mountinfo").read_text()
        tree, locks = run_in(os.getpid(), (), lambda: look(pid))  # setns(2) wants a process of one thread
        assert Path(f"/proc/{pid}/mountinfo").read_text() == before
    assert locks.flags.keys() == tree.by_id.keys()
    by_point = {m.point: m for m in tree.mounts}
    assert tree.root and tree.root.mnt_id not in locks.locked
    free = {str(inner), str(bind), "/"}
    for point, its in by_point.items():
        assert (its.mnt_id in locks.locked) == (point not in free), point
    made, proc = by_point[str(inner)], by_point["/proc"]
    assert locks.owned == {made.dev}
    assert locks.flags[made.mnt_id] & ~mounts.MS_NOATIME == 0
    kept = proc.flags & (mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC | mounts.MS_RDONLY)
    for one in (proc, by_point[str(bind)]):
        assert locks.flags[one.mnt_id] == kept | mounts.MS_NOATIME


@pytest.mark.parametrize("parents", [{5: 5}, {5: 6, 6: 5}, {5: 6, 6: 7, 7: 6}])
def test_user_namespaces_in_each_other(parents: dict[int, int]) -> None:
    tree: Any = SimpleNamespace(users={ident: SimpleNamespace(parent=parent) for ident, parent in parents.items()})
    images: Any = SimpleNamespace(name=lambda kind, ident: f"userns-{ident}.img")
    with pytest.raises(BadImage, match=r"userns-5.img.*in itself"):
        TreeImages._check_parents(tree, images)


def test_user_namespaces_in_the_trees() -> None:
    tree: Any = SimpleNamespace(users={5: SimpleNamespace(parent=4), 6: SimpleNamespace(parent=5)})
    images: Any = SimpleNamespace()
    TreeImages._check_parents(tree, images)


def test_errands_come_back() -> None:
    from engine.errors import EngineError
    from engine.namespaces import errand

    fds = errand.run(lambda: [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)], "it")
    assert os.readlink(f"/proc/self/fd/{fds[0]}") == "/dev/null"
    os.close(fds[0])
    before = os.listdir("/proc/self/fd")
    with pytest.raises(EngineError, match=r"it: .*No such file"):
        errand.run(lambda: [os.open("/nowhere", os.O_RDONLY)], "it")
    assert os.listdir("/proc/self/fd") == before
