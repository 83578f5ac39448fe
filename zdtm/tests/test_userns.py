"""User namespaces: maps go into the image and out of it, ids are translated by them, bad ones are refused."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.context import Context
from engine.errors import BadImage, Unsupported
from engine.images.files import Images
from engine.kernel import proc
from engine.log import Log
from engine.namespaces import user
from engine.namespaces.table import Namespace
from engine.options import Options
from zdtm.tests import killing
from zdtm.tests.worlds import run_in, world

UIDS = "0 300000 10000\n10000 500000 55536\n"
GIDS = "0 400000 10000\n10000 600000 55536\n"


@pytest.fixture
def ctx() -> Context:
    return Context(Options(), Log())


@pytest.fixture
def images(ctx: Context, tmp_path: Path) -> Iterator[Images]:
    images = Images.open(ctx.schema, str(tmp_path))
    yield images
    images.close()


def mapped(pid: int, uids: str = UIDS, gids: str = GIDS, setgroups: str = "") -> Namespace:
    """The namespace of a process, with its maps written."""
    for name, text in (("setgroups", setgroups), ("uid_map", uids), ("gid_map", gids)):
        if text:
            Path(f"/proc/{pid}/{name}").write_text(text)
    return Namespace("user", 14, os.stat(f"/proc/{pid}/ns/user").st_ino, pid)


def lines(pid: int, name: str) -> str:
    """A map, as it was written."""
    found = Path(f"/proc/{pid}/{name}").read_text()
    return "".join(" ".join(line.split()) + "\n" for line in found.splitlines())


def test_maps_come_back(ctx: Context, images: Images) -> None:
    with world(("user",)) as (pid, _):
        ns = mapped(pid)
        assert user.blockers(ctx, ns) == []
        user.dump(ctx, images, ns)
    entry = images.read_one("USERNS", 14)
    assert not entry.HasField("setgroups_denied")
    assert user.root_ids(entry) == (300000, 400000)
    assert user.maps(images, 14) == [("uid_map", UIDS), ("gid_map", GIDS)]
    with world(("user",)) as (pid, _):
        mapped(pid)
        assert (lines(pid, "uid_map"), lines(pid, "gid_map")) == (UIDS, GIDS)


def test_denied_setgroups_is_kept(ctx: Context, images: Images) -> None:
    with world(("user",)) as (pid, _):
        user.dump(ctx, images, mapped(pid, setgroups="deny"))
    assert images.read_one("USERNS", 14).setgroups_denied


def test_without_maps(ctx: Context) -> None:
    with world(("user",)) as (pid, _):
        blockers = user.blockers(ctx, mapped(pid, "", ""))
    assert len(blockers) == 2 and "has no uid_map" in blockers[0] and "has no gid_map" in blockers[1]


def test_ids_are_those_inside() -> None:
    with world(("user",)) as (pid, _):
        mapped(pid)
        ids = user.Ids.of_task(pid)

        def own() -> int:
            os.setresgid(58467, 58467, 58467)
            os.setresuid(18943, 18943, 18943)
            return user.Ids.of_task(os.getpid()).uid_inside(7)

        assert run_in(pid, ("user",), own) == 7  # who looks from inside has nothing to translate
    assert (ids.uid_inside(300000), ids.uid_inside(309999), ids.uid_inside(508943)) == (0, 9999, 18943)
    assert (ids.gid_inside(400000), ids.gid_inside(648467)) == (0, 58467)
    assert (ids.uid_outside(18943), ids.gid_outside(58467)) == (508943, 648467)
    for wrong in (0, 310000, 299999, 555536):
        with pytest.raises(Unsupported, match=rf"user {wrong} is not mapped in the user namespace user:\[\d+\]"):
            ids.uid_inside(wrong)
    with pytest.raises(Unsupported, match="group 65536 of the images is not mapped"):
        ids.gid_outside(65536)
    assert user.Ids().uid_inside(5) == user.Ids().gid_outside(5) == 5


@pytest.mark.parametrize(
    ("extents", "what"),
    [
        ([], "is empty"),
        ([(0, 5, 0)], "a range without ids"),
        ([(0, 0xFFFFFF00, 0x200)], "or beyond them"),
        ([(0, 10, 5), (4, 20, 5)], "overlap"),
        ([(0, 10, 5), (5, 12, 5)], "overlap"),
        ([(i, i, 1) for i in range(341)], "341 ranges"),
    ],
)
def test_bad_maps(ctx: Context, images: Images, extents: list[tuple[int, int, int]], what: str) -> None:
    entry: Any = ctx.schema.message("userns_entry")()
    entry.gid_map.add(first=0, lower_first=0, count=10)
    for first, lower, count in extents:
        entry.uid_map.add(first=first, lower_first=lower, count=count)
    images.write("USERNS", (3,), [entry])
    with pytest.raises(BadImage, match=f"userns-3.img.*uid_map.*{what}"):
        user.maps(images, 3)


def test_the_kernel_agrees_about_bad_maps(ctx: Context) -> None:
    """What `check` refuses the kernel refuses; what it lets through the kernel takes."""
    cases: list[tuple[str, Callable[[OSError | None], bool]]] = [
        ("0 10 5\n4 20 5\n", lambda e: e is not None),
        ("0 10 5\n5 12 5\n", lambda e: e is not None),
        ("".join(f"{i} {i} 1\n" for i in range(340)), lambda e: e is None),
    ]
    for text, expected in cases:
        with world(("user",)) as (pid, _):
            error: OSError | None = None
            try:
                Path(f"/proc/{pid}/uid_map").write_text(text)
            except OSError as e:
                error = e
            assert expected(error), text


def test_denied_setgroups_comes_back(engine_criu: Path, tmp_path: Path, reaper: None) -> None:
    """With the groups that the tree had before: nobody could set them any more."""
    command = ["setpriv", "--groups", "0", "unshare", "--user", "--map-root-user", "--pid", "--fork", "sleep", "1000"]
    null = subprocess.DEVNULL
    above = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
    try:
        killing.wait_until("it sleeps", lambda: bool(_sleeper(above.pid)))
        pid = _sleeper(above.pid)
        before = _told(pid)
        assert before[0].strip() == "deny" and before[2].split() == ["0"]
        subprocess.run([engine_criu, "dump", "-t", str(pid), "-D", tmp_path, "--shell-job"], check=True)
        above.wait(10)
        subprocess.run([engine_criu, "restore", "-d", "-D", tmp_path, "--shell-job", "--pidfile", "pid"], check=True)
        above.pid = int((tmp_path / "pid").read_text())
        assert _told(above.pid) == before
    finally:
        os.kill(above.pid, signal.SIGKILL)
        os.waitpid(above.pid, 0)


def test_pids_of_the_engine(engine_criu: Path, tmp_path: Path) -> None:
    """A user namespace without one of pids is refused: its tasks may not choose theirs."""
    task = subprocess.Popen(["unshare", "--user", "--map-root-user", "sleep", "1000"])
    try:
        killing.wait_until("it sleeps", lambda: proc.Stat(task.pid).comm == "sleep")
        done = subprocess.run(
            [engine_criu, "dump", "-t", str(task.pid), "-D", tmp_path], capture_output=True, text=True
        )
        assert done.returncode == 1 and "has no pid namespace that belongs to it" in done.stderr, done.stderr
    finally:
        task.kill()
        task.wait()


def _sleeper(parent: int) -> int:
    return next((pid for pid in proc.children(parent) if proc.Stat(pid).comm == "sleep"), 0)


def _told(pid: int) -> tuple[str, str, str]:
    return *(lines(pid, name) for name in ("setgroups", "gid_map")), proc.status(pid)["Groups"]  # type: ignore[return-value]
