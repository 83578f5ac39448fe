"""What is to be done about cgroups, by the options; what a failure leaves; freezers; images that want too much."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import BadImage, BadOption, EngineError
from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel import proc
from engine.kernel.cgroup import Hierarchy, forget
from engine.options import parse
from engine.tasks import cgroup_props
from engine.tasks.cgroup_freezer import Freezer
from engine.tasks.cgroup_image import CgroupImage
from zdtm.cgroups import ALONE, MARK, of, tree
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, finish, refused, wait
from zdtm.tests.worlds import run_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SWITCH = "notify_on_release"
MODES = ("none", "props", "soft", "full", "strict", "ignore")


class Place:
    """A cgroup, and what is below, for one test."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.hierarchy = Hierarchy(name)

    def make(self, *below: str) -> None:
        for path in (self.path, *(self.path + b for b in below)):
            if path != "/":
                self.hierarchy.make(path)

    def enter(self, pid: int, below: str = "") -> None:
        self.hierarchy.write(self.path + below, "cgroup.procs", str(pid))

    def holds(self, pid: int) -> bool:
        return of(pid)[self.name] == self.path

    def remove(self, path: str = "") -> None:
        path = path or self.path
        if not self.hierarchy.exists(path):
            return
        for child in self.hierarchy.children(path):
            self.remove(f"{path.rstrip('/')}/{child}")
        if path != "/":
            for pid in (self.hierarchy.find(path, "cgroup.procs") or "").split():
                with suppress(EngineError):  # it has ended
                    self.hierarchy.write("/", "cgroup.procs", pid)
            wait(lambda: self._rmdir(path))

    def _rmdir(self, path: str) -> bool:
        try:
            self.hierarchy.remove(path)
        except OSError:
            return False
        return True

    def read(self, name: str) -> str:
        return self.hierarchy.read(self.path, name)


def _place(name: str, path: str) -> Iterator[Place]:
    with open(ALONE) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = Place(name, path)
        place.make()
        try:
            yield place
        finally:
            if name == "freezer" or not name:
                for freezer, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                    if place.hierarchy.exists(path) and place.hierarchy.find(path, freezer):
                        place.hierarchy.write(path, freezer, thawed)
            place.remove("/" if MARK in name else path)
            place.hierarchy.close()
            if MARK in name:
                forget(name)


@pytest.fixture
def place() -> Iterator[Place]:
    """In a hierarchy of its own."""
    yield from _place(f"name={MARK}{os.getpid():x}", "/one")


@pytest.fixture(params=["freezer", ""], ids=["v1", "v2"])
def freezing(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One that can be frozen."""
    if request.param not in of("self"):
        pytest.skip(f"this kernel has no cgroup hierarchy '{request.param}' mounted")
    yield from _place(request.param, f"/{MARK}{os.getpid():x}")


@pytest.fixture
def yard(tmp_path: Path, freezing: Place) -> Iterator[str]:
    """Where that is mounted."""
    path = tmp_path / "yard"
    path.mkdir()
    kind = ["-t", "cgroup", "-o", freezing.name] if freezing.name else ["-t", "cgroup2"]
    subprocess.run(["mount", *kind, "zdtm", path], check=True)
    try:
        yield f"{path}{freezing.path}"
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def ended(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_who_is_where_the_engine_is_has_no_image(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    assert "cgroup.img" not in os.listdir(images)
    assert Images.open(Schema(), images).read_one("INVENTORY").root_cg_set == 1


@pytest.mark.usefixtures("reaper")
def test_modes_where_nothing_is(criu: Criu, quiet, images: str, place: Place) -> None:  # type: ignore[no-untyped-def]
    place.hierarchy.make("/one/below")
    place.hierarchy.write("/one", SWITCH, "1")
    place.enter(quiet.pid)
    criu("dump", "-t", str(quiet.pid), "-D", images)
    quiet.wait()
    place.remove()
    for mode in MODES:
        command = ("restore", "-d", "-D", images, f"--manage-cgroups={mode}")
        if mode in ("none", "props"):
            assert f"is not there, and --manage-cgroups={mode} makes none: soft does" in refused(criu, *command)
            assert tree(place.name) == ["/"]
            continue
        criu(*command)
        assert place.holds(quiet.pid) == (mode != "ignore")
        assert tree(place.name) == (["/"] if mode == "ignore" else ["/", "/one", "/one/below"])
        assert mode == "ignore" or place.read(SWITCH) == "1"
        ended(quiet.pid)
        place.remove()


@pytest.mark.usefixtures("reaper")
def test_modes_where_all_is(criu: Criu, quiet, images: str, place: Place) -> None:  # type: ignore[no-untyped-def]
    place.hierarchy.write("/one", SWITCH, "1")
    place.enter(quiet.pid)
    criu("dump", "-t", str(quiet.pid), "-D", images)
    quiet.wait()
    for mode in MODES:
        place.hierarchy.write("/one", SWITCH, "0")
        command = ("restore", "-d", "-D", images, f"--manage-cgroups={mode}")
        if mode == "strict":
            assert f"cgroup {place.name}:/one is there already" in refused(criu, *command)
            assert tree(place.name) == ["/", "/one"]
            continue
        criu(*command)
        assert place.holds(quiet.pid) == (mode != "ignore")
        assert place.read(SWITCH) == ("1" if mode in ("props", "full") else "0")
        ended(quiet.pid)


def test_a_dump_without_cgroups(criu: Criu, quiet, images: str, place: Place) -> None:  # type: ignore[no-untyped-def]
    place.enter(quiet.pid)
    criu("dump", "-R", "-t", str(quiet.pid), "-D", images, "--manage-cgroups=ignore")
    assert "cgroup.img" not in os.listdir(images)
    finish(quiet)


@pytest.mark.usefixtures("reaper")
def test_a_failed_restore_leaves_no_cgroup(criu: Criu, quiet, images: str, place: Place) -> None:  # type: ignore[no-untyped-def]
    """It fails when all tasks are there, in a hierarchy that it has made."""
    place.hierarchy.make("/one/below")
    place.enter(quiet.pid, "/below")
    criu("dump", "-t", str(quiet.pid), "-D", images)
    quiet.wait()
    place.remove()
    place.hierarchy.close()
    assert forget(place.name)
    try:
        done = criu("restore", "-d", "-D", images, "--pidfile", "/nowhere/pidfile", check=False)
        assert done.returncode == 1 and "cannot be removed" not in done.stderr
        assert place.name not in of("self")
        assert not os.path.exists(f"/proc/{quiet.pid}")
    finally:
        place.hierarchy = Hierarchy(place.name)


def names(images: str, hierarchy: str) -> dict[str, str]:
    """The properties in the image of the first cgroup of a hierarchy."""
    entry = Images.open(Schema(), images).read_one("CGROUP")
    (controller,) = (c for c in entry.controllers if ",".join(c.cnames) == hierarchy)
    return {p.name: p.value for p in controller.dirs[0].properties}


def test_which_properties_are_kept(criu: Criu, quiet, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for pids in _place("pids", f"/{MARK}{os.getpid():x}"):
        pids.enter(quiet.pid)
        command = ("dump", "-R", "-t", str(quiet.pid), "-D", images)
        criu(*command, "--cgroup-dump-controller", "pids")
        assert names(images, "pids")["pids.max"] == "max"
        assert len(Images.open(Schema(), images).read_one("CGROUP").controllers) == 1
        criu(*command, "--cgroup-props", '"pids":\n - "strategy": "replace"\n - "properties": []')
        assert "pids.max" not in names(images, "pids") and SWITCH in names(images, "pids")
        (tmp_path / "props").write_text(
            'pids:\n - "strategy": "merge"\n - "properties": ["pids.peak",\n "pids.events"]'
        )
        criu(*command, "--cgroup-props-file", str(tmp_path / "props"))
        assert {"pids.max", "pids.peak", "pids.events"} <= names(images, "pids").keys()
    finish(quiet)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--manage-cgroups=some",), "unknown; one of none, props"),
        (("--cgroup-root", "pids:relative"), "an absolute path"),
        (("--cgroup-root", "/a/../.."), "an absolute path"),
        (("--cgroup-props", "- properties: []"), "line 1: 'properties' is of no controller"),
        (("--cgroup-props", "cpu:\n - strategy: some"), "line 2: strategy some: one of replace, merge"),
        (("--cgroup-props", "cpu:\n - properties: cpu.shares"), "line 2: properties are given as"),
        (("--cgroup-props", 'cpu:\n - properties: ["../x"]'), "no list of names of files"),
        (("--cgroup-props", "cpu:\n - depth: 1"), "line 2: 'depth' is unknown"),
        (("--cgroup-props-file", "/nowhere"), "No such file"),
    ],
)
def test_options_that_say_nothing(args: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadOption, match=why):
        parse(["dump", "-t", "1", *args])


def test_the_last_word_of_a_property() -> None:
    """In one file and one string: the string's."""
    table = cgroup_props.parse('"cpu":\n - "strategy": "merge"\n - "properties": ["a", "b"]\nmemory:\n', "x")
    assert table == {"cpu": ("merge", ["a", "b"]), "memory": ("replace", [])}


def image(**controller: Any) -> CgroupImage:
    """One set in one hierarchy."""
    new = Schema().message
    values = {"cnames": ["name=x"], "dirs": [{"dir_name": "one"}], **controller}
    path = values.pop("path", "/one")
    prefix = values.pop("prefix", 0)
    roots = values.pop("roots", {})
    entry = new("cgroup_entry")(
        sets=[{"id": 2, "ctls": [{"name": "name=x", "path": path, "cgns_prefix": prefix}]}], controllers=[values]
    )
    return CgroupImage(entry, roots)


@pytest.mark.parametrize(
    "values",
    [
        {"path": "/../one"},
        {"path": "one"},
        {"path": "/one//two"},
        {"prefix": 9},
        {"dirs": [{"dir_name": "one/../../two"}]},
        {"dirs": [{"dir_name": "one", "children": [{"dir_name": ".."}]}]},
        {"dirs": [{"dir_name": "one", "children": [{"dir_name": "a/b"}]}]},
        {"dirs": [{"dir_name": "one", "properties": [{"name": "../x", "value": ""}]}]},
    ],
    ids=str,
)
def test_names_that_lead_out_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(BadImage):
        image(**values)


@pytest.mark.parametrize(
    ("dirs", "roots", "paths", "member"),
    [
        (["one"], {"": "/new"}, ["/new"], "/new"),
        (["one"], {"": "/new", "name=x": "/other"}, ["/other"], "/other"),
        (["one", "two"], {"": "/new"}, ["/new/one", "/new/two"], "/new/one"),
        ([""], {"": "/new"}, ["/new"], "/new/one"),
        (["one"], {"name=y": "/new"}, ["/one"], "/one"),
    ],
)
def test_other_roots(dirs: list[str], roots: dict[str, str], paths: list[str], member: str) -> None:
    its = image(dirs=[{"dir_name": name} for name in dirs], roots=roots)
    assert [d.path for d in its.directories] == paths
    assert its.sets[2]["name=x"].path == member


def frozen(place: Place) -> bool:
    if place.name:
        return place.read("freezer.state") == "FROZEN"
    return place.read("cgroup.freeze") == "1" and "frozen 1" in place.read("cgroup.events")


def set_frozen(place: Place, on: bool) -> None:
    if place.name:
        place.hierarchy.write(place.path, "freezer.state", "FROZEN" if on else "THAWED")
    else:
        place.hierarchy.write(place.path, "cgroup.freeze", "1" if on else "0")
    wait(lambda: frozen(place) == on)


def test_a_freezer_stops_the_tree(criu: Criu, quiet, images: str, freezing: Place, yard: str) -> None:  # type: ignore[no-untyped-def]
    freezing.enter(quiet.pid)
    criu("dump", "-R", "-t", str(quiet.pid), "-D", images, "--freeze-cgroup", yard)
    assert not frozen(freezing)
    finish(quiet)


FORKS = """
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    for (;;) {
        pid_t pid = fork();

        if (!pid)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
}
"""


def test_a_freezer_stops_who_forks_all_the_time(  # type: ignore[no-untyped-def]
    criu: Criu, c_program, start, images: str, freezing: Place, yard: str
) -> None:
    process = start(c_program(FORKS))
    freezing.enter(process.pid)
    criu("dump", "-R", "-t", str(process.pid), "-D", images, "--freeze-cgroup", yard)
    faults = proc.Stat(process.pid)[11]  # of children that it has waited for
    wait(lambda: proc.Stat(process.pid)[11] > faults)
    assert not frozen(freezing)
    process.kill()
    process.wait()


@pytest.mark.usefixtures("reaper")
def test_what_is_found_frozen_stays_so(criu: Criu, quiet, images: str, freezing: Place, yard: str) -> None:  # type: ignore[no-untyped-def]
    freezing.enter(quiet.pid)
    set_frozen(freezing, True)
    assert "is in the frozen cgroup" in refused(criu, "dump", "-t", str(quiet.pid), "-D", images)
    criu("dump", "-R", "-t", str(quiet.pid), "-D", images, "--freeze-cgroup", yard)
    assert frozen(freezing)
    assert proc.status(quiet.pid)["TracerPid"] == "0"
    criu("dump", "-t", str(quiet.pid), "-D", images, "--freeze-cgroup", yard)
    quiet.wait()
    assert ("freezer.state", "FROZEN") in names(images, "freezer").items() or names(images, "")["cgroup.freeze"] == "1"
    for there in (True, False):
        if not there:
            set_frozen(freezing, False)
            freezing.remove()
        criu("restore", "-d", "-D", images)
        wait(lambda: frozen(freezing))
        assert freezing.holds(quiet.pid)
        set_frozen(freezing, False)
        if there:
            ended(quiet.pid)
        else:
            end_restored(quiet.pid)


def test_a_freezer_that_is_none(criu: Criu, quiet, images: str, place: Place, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command = ("dump", "-t", str(quiet.pid), "-D", images, "--freeze-cgroup")
    assert "it has neither freezer.state nor cgroup.freeze" in refused(criu, *command, str(tmp_path))
    assert "No such file" in refused(criu, *command, str(tmp_path / "nowhere"))
    finish(quiet)


def test_an_engine_that_is_killed_thaws(quiet, freezing: Place, yard: str) -> None:  # type: ignore[no-untyped-def]
    freezing.enter(quiet.pid)
    pid = os.fork()
    if not pid:
        try:
            Freezer(yard).freeze(5_000_000)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    wait(lambda: not frozen(freezing))
    finish(quiet)


def test_a_freezer_does_not_stop_the_engine(freezing: Place, yard: str) -> None:
    pid = os.fork()
    if not pid:
        freezing.enter(os.getpid())
        try:
            Freezer(yard)
        except Exception as e:
            os._exit(0 if "the engine is in it" in str(e) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.usefixtures("reaper")
@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_mounts_in_a_cgroup_namespace(  # type: ignore[no-untyped-def]
    criu: Criu, c_program, images: str, place: Place, tmp_path: Path, user: bool
) -> None:
    """What is mounted in it is relative to its root, before and after, and also below another --cgroup-root."""
    place.hierarchy.make("/one/below")
    program, root = c_program(PROGRAMS / "container.c", "-static"), tmp_path / "root"
    root.mkdir()
    args = [program, root, f"none,{place.name}", *(["user"] if user else [])]

    def enter() -> None:
        place.enter(os.getpid())
        os.setsid()

    with open(tmp_path / "log", "wb") as log:
        task = subprocess.Popen(args, preexec_fn=enter, stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert task.stdin
    if user:
        own = os.readlink("/proc/self/ns/user")
        wait(lambda: os.readlink(f"/proc/{task.pid}/ns/user") != own)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{task.pid}/{name}", "w") as f:
                f.write("0 0 65536")
        task.stdin.write(b"x")
        task.stdin.flush()
    try:
        if user:
            wait(lambda: proc.children(task.pid) != [])
        pid = proc.children(task.pid)[0] if user else task.pid
        wait(lambda: " /bound " in proc.read_text(f"/proc/{pid}/mountinfo"))
        before = shown(pid)
        assert [root for root, point in before if point != "/"] == ["/one", "/one/below"]
        criu("dump", "-t", str(pid), "-D", images)
        task.wait()
        for args_, top in (((), "/one"), (("--cgroup-root", f"{place.name}:/new/top"), "/new/top")):
            place.remove()
            criu("restore", "-d", "-D", images, "--root", "/", "--pidfile", "pid", *args_)
            pid = int((tmp_path / "images" / "pid").read_text())
            assert shown(pid) == [(at.replace("/one", top), point) for at, point in before]
            assert of(pid)[place.name] == top
            inner = run_in(pid, ("cgroup",), lambda pid=pid: of(pid)[place.name])
            assert inner == "/"
            ended(pid)
            (tmp_path / "images" / "pid").unlink()
        place.remove("/new")
    finally:
        task.kill()
        task.wait()


def shown(pid: int) -> list[tuple[str, str]]:
    """Roots and points of mounts."""
    lines = proc.read_text(f"/proc/{pid}/mountinfo").splitlines()
    return sorted((line.split()[3], line.split()[4]) for line in lines)
