"""Tests of the matrix itself: what it collects, how it fails, and that it notices."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from zdtm import skips
from zdtm.build import build
from zdtm.engine import our_engine, refusals
from zdtm.failures import BuildFailed, StateDiffers
from zdtm.header import BadHeader, parse
from zdtm.images import check_page_count
from zdtm.limits import RAISED
from zdtm.observe import maps, mounts, snapshot
from zdtm.places import item_directory, machine, places
from zdtm.waiting import poll

HEADER = "/*\n * title: a case of the harness's own tests\n * flavours: {flavours}\n{more} */\n"
PASSES = """
#include "zdtm.h"
int main(int argc, char **argv)
{
	test_init(argc, argv);
	test_daemon();
	test_waitsig();
	pass();
}
"""


@dataclass(frozen=True)
class Result:
    """How a session ended: outcome and text by node id, what it printed, and its status."""

    outcomes: dict[str, tuple[str, str]]
    printed: str
    status: int


class Project:
    """A directory with cases, that pytest with the plugin is run in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "static").mkdir()
        (root / "pytest.ini").write_text("[pytest]\n")

    def case(self, name: str, body: str = PASSES, flavours: str = "host", more: str = "") -> None:
        lines = "".join(f" * {line}\n" for line in more.splitlines())
        text = HEADER.format(flavours=flavours, more=lines) + textwrap.dedent(body)
        (self.root / "static" / f"{name}.c").write_text(text)

    def engine(self, script: str) -> str:
        """An engine as a shell script; `real` runs ours."""
        path = self.root / "engine"
        path.write_text(f'#!/bin/sh\nreal() {{ {shlex.quote(str(our_engine()))} "$@"; }}\n{script}\n')
        path.chmod(0o755)
        return str(path)

    def run(self, *args: str) -> Result:
        report = self.root / "report.xml"
        command = [sys.executable, "-m", "pytest", "-p", "zdtm.plugin", "-p", "no:cacheprovider", "-rA"]
        done = subprocess.run(
            [*command, f"--junitxml={report}", *args],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=120,
        )
        outcomes = {}
        for test in ElementTree.parse(report).iter("testcase"):
            found = [
                (child.tag, f"{child.get('message')}\n{child.text}") for child in test if child.tag != "properties"
            ]
            name = f"{test.get('classname', '').rpartition('.c')[0].rpartition('.')[2]}::{test.get('name')}"
            outcomes[name] = found[0] if found else ("passed", "")
        return Result(outcomes, done.stdout + done.stderr, done.returncode)


@pytest.fixture
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    # in a checkout below /root the tests' user cannot reach build/
    base = places(request.config.rootpath).programs.parent
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="harness-", dir=base) as path:
        os.chmod(path, 0o755)
        yield Project(Path(path))


def test_every_flavour_is_an_item(project: Project) -> None:
    project.case("one", flavours="host ns userns")
    project.case("two", flavours="userns")
    project.case("three", more="flags: noauto")
    listed = project.run("--collect-only", "-q", "--title")
    for nodeid in ("one.c::host", "one.c::ns", "one.c::userns", "two.c::userns"):
        assert f"static/{nodeid}\n" in listed.printed
        assert f"static/{nodeid}: a case of the harness's own tests\n" in listed.printed
    assert "three.c" not in listed.printed
    assert "static/three.c::host" in project.run("--collect-only", "-q", "static/three.c").printed
    only = project.run("--collect-only", "-q", "--flavor", "host,ns", "-k", "one").printed
    assert "one.c::host" in only and "one.c::ns" in only and "userns" not in only


def test_all_flavours_run_under_xdist(project: Project) -> None:
    project.case("one", flavours="host ns userns")
    project.case("two", flavours="host ns userns")
    result = project.run("--nocr", "-n", "2", "--title")
    assert result.status == 0, result.printed
    assert "6 passed" in result.printed
    assert "static/one.c::userns: a case" in result.printed
    assert not list((project.root / "build" / "artefacts").iterdir())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--flavor", "moon"), "no flavour 'moon'"),
        (("--nocr", "--norestore"), "contradict"),
        (("--iters", "0"), "--iters"),
    ],
)
def test_bad_options_are_refused(project: Project, options: tuple[str, ...], complaint: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "zdtm.plugin", "--collect-only", *options]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("int x;\n", 1, "does not begin"),
        ("/*\n * title: t\n * flavours: host\n", 1, "does not end"),
        ("/*\n * title: t\n */\n", 1, "no 'flavours'"),
        ("/*\n * flavours: host\n */\n", 1, "no 'title'"),
        ("/*\n * title: t\n * flavours: host moon\n */\n", 3, "unknown 'moon'"),
        ("/*\n * title: t\n * flavours: host\n * flags: sudo\n */\n", 4, "unknown 'sudo'"),
        ("/*\n * title: t\n * flavour: host\n */\n", 3, "unknown key 'flavour'"),
        ("/*\n * title: t\n * title: u\n */\n", 3, "given twice"),
        ("/*\n * title: t\n * flavours: host host\n */\n", 3, "given twice"),
        ("/*\n * title:\n */\n", 2, "empty"),
        ("/*\n * title: t\n * flavours: host\n * timeout: long\n */\n", 4, "seconds"),
        ("/*\n * title: t\n * flavours: host\n * args: 'x\n */\n", 4, "quotation"),
        ("/*\n * title: t\n * flavours: host\n free text\n */\n", 4, "key: value"),
        ("/*\n * title: t\n * flavours: host\n * needs: magic\n */\n", 4, "unknown 'magic'"),
        ("/*\n * title: t\n * flavours: host\n * ignore: all\n */\n", 4, "unknown 'all'"),
    ],
)
def test_headers_are_strict(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = tmp_path / "case.c"
    path.write_text(text)
    with pytest.raises(BadHeader) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert what in str(caught.value)


def test_a_bad_header_stops_the_session(project: Project) -> None:
    project.case("bad", more="flags: sudo")
    result = project.run()
    assert result.status == pytest.ExitCode.INTERRUPTED
    assert "static/bad.c:4: flags: unknown 'sudo'" in result.printed
    assert "Traceback" not in result.printed


def test_builds_once_and_says_what_is_wrong(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.c", tmp_path / "bad.c"
    good.write_text("int main(void) { return 0; }\n")
    bad.write_text("int main(void) { int unused; return 0; }\n")
    program = build(tmp_path / "cache", (good,))
    made = program.stat().st_mtime_ns
    assert build(tmp_path / "cache", (good,)).stat().st_mtime_ns == made
    good.write_text("int main(void) { return 1; }\n")
    assert build(tmp_path / "cache", (good,)) != program
    with pytest.raises(BuildFailed, match="unused"):
        build(tmp_path / "cache", (bad,))


def test_an_item_directory_is_held_by_one(tmp_path: Path) -> None:
    with item_directory(tmp_path, "case") as first, item_directory(tmp_path, "case") as second:
        assert (first.name, second.name) == ("case", "case.2")
        (first / "old").touch()
    with item_directory(tmp_path, "case") as again:
        assert again == first and not list(again.iterdir())


def test_failures_of_the_test_itself(project: Project) -> None:
    start = '#include "zdtm.h"\n#include <stdlib.h>\n#include <unistd.h>\nint main(int argc, char **argv)\n'
    project.case("checks", f'{start} {{ test_init(argc, argv); test_daemon(); test_waitsig(); fail("%d is odd", 3); }}')
    project.case("early", f'{start} {{ test_init(argc, argv); fail("not even started"); }}')
    project.case("hasty", f"{start} {{ test_init(argc, argv); pass(); }}")
    project.case("dies", f"{start} {{ test_init(argc, argv); test_daemon(); test_waitsig(); abort(); }}")
    project.case("mute", f"{start} {{ test_init(argc, argv); pause(); pass(); }}", more="timeout: 1")
    project.case("deaf", f"{start} {{ test_init(argc, argv); test_daemon(); for (;;) pause(); }}", more="timeout: 1")
    project.case("skips", f'{start} {{ test_init(argc, argv); skip("no luck today"); }}')
    project.case("wrong", "#error in the source\n")
    project.case("fine")
    result = project.run("--nocr")
    expected = {
        "checks": "the test's own check failed: 3 is odd",
        "early": "the test's own check failed: not even started",
        "hasty": "passed without waiting",
        "dies": "no verdict: the test ended by signal 6 (SIGABRT)",
        "mute": "a problem of the harness: the test was not ready within 1 s",
        "deaf": "did not end within 1 s of SIGTERM",
        "wrong": "the case does not build",
    }
    for name, text in expected.items():
        outcome, found = result.outcomes[f"{name}::host"]
        assert outcome == "failure" and text in found, (name, found)
        assert "Traceback" not in found
        if name != "wrong":
            directory = project.root / "build" / "artefacts" / f"{name}-host"
            assert f"artefacts: {directory}" in found and (directory / "scratch" / ".zdtm" / "log").exists()
    assert result.outcomes["skips::host"][0] == "skipped" and "no luck today" in result.outcomes["skips::host"][1]
    assert result.outcomes["fine::host"][0] == "passed"
    assert not (project.root / "build" / "artefacts" / "fine-host").exists()
    assert "1 no luck today" in result.printed


def test_what_a_test_may_rely_on(project: Project) -> None:
    project.case(
        "surroundings",
        """
        #include "zdtm.h"
        #include <fcntl.h>
        #include <sys/stat.h>
        #include <unistd.h>
        int main(int argc, char **argv)
        {
            struct stat null;
            test_init(argc, argv);
            CHECK(getsid(0) == getpid() && getpgid(0) == getpid(), "no session of its own");
            CHECK(getuid() == 18943 && getgid() == 58467, "runs as %d:%d", getuid(), getgid());
            CHECK(getgroups(0, NULL) == 1, "%d extra groups", getgroups(0, NULL));
            CHECK(fcntl(3, F_GETFD) < 0 && dup(0) == 3, "more descriptors than three are open");
            SYS(fstat(0, &null));
            CHECK(S_ISCHR(null.st_mode), "no /dev/null");
            CHECK(argc == 3 && !strcmp(argv[2], "b c"), "arguments");
            close(3);
            test_daemon();
            test_waitsig();
            pass();
        }
        """,
        flavours="host ns userns",
        more="args: a 'b c'",
    )
    result = project.run("--nocr")
    assert result.status == 0, result.printed


ENGINES: dict[str, tuple[str, str]] = {
    "fails": (
        'echo "(00.000001) Error (some.c:1): no way"; exit 1',
        "the engine failed: dump ended with status 1\ndump.out:\n  (00.000001) Error (some.c:1): no way",
    ),
    "crashes": ("kill -SEGV $$", "the engine failed: dump ended with signal 11 (SIGSEGV)"),
    "hangs": ("sleep 100", "the engine failed: dump did not end within 2 s"),
    "lies": ("exit 0", "the engine wrote no stats-dump"),
    "does_not_kill": ('[ $1 = dump ] && set -- "$@" -R; real "$@"', "is still there"),
    "does_not_restore": ('[ $1 = dump ] || exit 0; real "$@"', "its pidfile does not hold a pid"),
    # A foreign engine has no preflight that speaks our words: this is no skip.
    "refuses": ('echo "Error (x.py:1): preflight: no"; exit 1', "the engine failed: dump ended with status 1"),
}


@pytest.mark.parametrize("name", ENGINES)
def test_engines_that_fail(project: Project, name: str) -> None:
    script, complaint = ENGINES[name]
    project.case("one", more="timeout: 2")
    result = project.run("--engine", project.engine(script))
    outcome, text = result.outcomes["one::host"]
    assert outcome == "failure" and complaint in text, text
    assert "Traceback" not in text and "artefacts: " in text
    strays = subprocess.run(["pgrep", "-f", f"{project.root}/"], capture_output=True, text=True).stdout
    assert not strays, strays


SET_REGISTERS = """
import os, sys
from ptrace.binding import ptrace_attach, ptrace_detach, ptrace_getregs, ptrace_setregs
pid = int(sys.argv[1])
ptrace_attach(pid)
os.waitpid(pid, 0)
registers = ptrace_getregs(pid)
registers.r12 = 0x77
ptrace_setregs(pid, registers)
ptrace_detach(pid)
"""

CHANGES = {
    f"{sys.executable} -c {shlex.quote(SET_REGISTERS)} $pid": "+r12=77",
    "echo 7 >/proc/$pid/oom_score_adj": "+oom_score_adj: 7",
    "prlimit --pid $pid --nofile=100:100": "+limit: Max open files 100 100 files",
    "renice -n 5 -p $pid >&2": "+nice: 5",
    "kill -STOP $pid": "+state: stopped",
    "taskset -p 1 $pid >&2": "+Cpus_allowed: 1",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: CHANGES[change])
def test_a_changed_tree_is_noticed(project: Project, change: str) -> None:
    project.case("one", more="timeout: 10")
    script = f"""
        for last; do [ "$before" = --pidfile ] && file=$last; before=$last; done
        real "$@" || exit
        [ $1 = restore ] || exit 0
        read -r pid <$file; {change}
    """
    result = project.run("--as-root", "--engine", project.engine(script))
    outcome, text = result.outcomes["one::host"]
    assert outcome == "failure" and "the state differs: after round 1" in text, text
    assert CHANGES[change] in text
    assert (project.root / "build" / "artefacts" / "one-host" / "difference.txt").exists()


def test_what_is_left_behind_is_noticed(project: Project, request: pytest.FixtureRequest) -> None:
    project.case("one")
    mark = f"crtools-left-{os.getpid()}"
    cgroup = Path("/sys/fs/cgroup/freezer") / mark
    script = f"""
        real "$@" || exit
        [ $1 = restore ] || exit 0
        sleep 1000 &
        touch $TMPDIR/forgotten /dev/shm/{mark}
        mkdir -p {project.root}/{mark} && mount -t tmpfs {mark} {project.root}/{mark}
        [ -d {cgroup.parent} ] && mkdir {cgroup} || true
    """
    with machine(places(request.config.rootpath), alone=True):
        try:
            result = project.run("--engine", project.engine(script))
        finally:
            subprocess.run(["umount", str(project.root / mark)], capture_output=True)
            Path("/dev/shm", mark).unlink(missing_ok=True)
            if cgroup.exists():
                cgroup.rmdir()
    outcome, text = result.outcomes["one::host"]
    assert outcome == "failure" and "something is left behind" in text, text
    for thing in ("sleep 1000", "tmp/forgotten", f"/dev/shm/{mark}", f"mount {project.root}/{mark}"):
        assert thing in text, text
    if cgroup.parent.exists():
        assert f"cgroup {cgroup}" in text


def test_modes_and_rounds(project: Project) -> None:
    project.case("one")
    engine = project.engine('echo "$@" >>$PWD/../calls; real "$@"')
    assert project.run("--engine", engine, "--iters", "2", "--keep").status == 0
    kept = project.root / "build" / "artefacts" / "one-host"
    assert [line.split()[0] for line in (kept / "calls").read_text().splitlines()] == ["dump", "restore"] * 2
    assert (kept / "images-2" / "pages-1.img").exists() and (kept / "work-2" / "restore.log").exists()
    assert project.run("--engine", engine, "--norestore", "--keep").status == 0
    assert [line.split()[0] for line in (kept / "calls").read_text().splitlines()] == ["dump"]
    dump = project.engine('[ $1 = dump ] && real "$@"')
    restore = str(our_engine())
    assert project.run("--dump-engine", dump, "--restore-engine", restore).status == 0


def test_a_case_that_has_to_be_refused(project: Project) -> None:
    project.case("pipe", more="flags: crfail")
    result = project.run()
    assert "has to be refused, and was not" in result.outcomes["pipe::host"][1]
    result = project.run("--engine", project.engine("exit 1"))
    assert result.outcomes["pipe::host"][0] == "passed", result.printed


def test_refusals_are_the_preflights_alone(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    said = "(00.01) Error (engine/preflight.py:9): preflight: pid 7: fd 5: a pipe is not supported yet\n"
    log.write_text(f"(00.00) Warn (x.py:1): hm\n{said}{said}Error (y.py:2): preflight: pid 8: has threads\n")
    assert refusals(log) == ("pid 7: fd 5: a pipe is not supported yet", "pid 8: has threads")
    log.write_text(f"{said}(00.02) Error (engine/dump.py:1): something else\n")
    assert refusals(log) == ()
    assert refusals(tmp_path / "none.log") == ()


def test_limits_of_the_machine_are_raised_in_a_session() -> None:
    """A pid that wraps around is somebody else's between a dump and its restore."""
    for name, wanted in RAISED.items():
        assert int(Path("/proc/sys", name).read_text()) >= wanted, name


def test_skips_are_held_against_the_list(project: Project) -> None:
    start = '#include "zdtm.h"\nint main(int argc, char **argv)\n'
    project.case("skips", f'{start} {{ test_init(argc, argv); skip("pid %d is unlucky", 13); }}', "host ns")
    project.case("fine")
    project.case("elsewhere", more="arch: s390x")
    listed = project.root / "skips.txt"
    listed.write_text("# why\n")
    arguments = ("--nocr", "--expected-skips", str(listed))
    result = project.run(*arguments)
    assert result.status == 1
    assert "static/skips.c::ns skips and is not listed: pid N is unlucky" in result.printed
    assert "2 pid N is unlucky" in result.printed
    assert "elsewhere.c::host skips and" not in result.printed
    assert project.run(*arguments, "--write-expected-skips").status == 0
    line = "static/skips.c::{}: pid N is unlucky\n"
    assert listed.read_text() == "# why\n" + line.format("host") + line.format("ns")
    assert project.run(*arguments, "-n", "2").status == 0
    listed.write_text(listed.read_text() + "static/fine.c::host: some reason\n")
    assert project.run(*arguments, "-k", "skips").status == 0
    result = project.run(*arguments, "-n", "2")
    assert result.status == 1
    assert "static/fine.c::host is listed, but did not skip" in result.printed


def test_the_list_of_skips_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("no reason here\n")
    with pytest.raises(pytest.UsageError, match="list:1"):
        skips.read(path)
    assert skips.normal("pid 12: [ 0xbeef-77 ]\n at  3") == "pid N: [ N-N ] at N"


def test_mappings_are_compared_by_what_matters() -> None:
    smaps = "{} rw-p 00000000 00:00 0 \nVmFlags: rd wr {}\n"
    one = smaps.format("1000-3000", "mr sd")
    two = smaps.format("1000-2000", "mr") + smaps.format("2000-3000", "mr sd")
    assert maps.merged(maps.parse(one)) == maps.merged(maps.parse(two))
    assert maps.merged(maps.parse(one)) != maps.merged(maps.parse(one.replace("3000", "4000")))
    assert maps.merged(maps.parse(one)) != maps.merged(maps.parse(one.replace("mr", "mr dc")))
    file = "1000-2000 r--p 00001000 fe:00 77 /lib/x y.so\n"
    assert maps.parse(file)[0].file == "fe:00:77 /lib/x y.so"
    assert maps.parse(file) != maps.parse(file.replace("77", "78"))
    gone = file.replace("\n", " (deleted)\n")
    assert maps.parse(gone) == maps.parse(gone.replace("77", "78"))


def test_mounts_are_read_whole() -> None:
    line = "95 93 0:44 / /proc rw,nosuid shared:7 master:3 - proc proc rw\n"
    (mount,) = mounts.parse(line)
    assert (mount.mnt_id, mount.parent, mount.point, mount.tags) == (95, 93, "/proc", ("shared:7", "master:3"))


def test_looking_does_not_disturb(
    c_program: Callable[..., Path], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    source = """
        #include <signal.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(void)
        {
            sigset_t none;
            sigemptyset(&none);
            prctl(PR_SET_NAME, "loaded");
            sigsuspend(&none);
            write(1, "disturbed", 9);
            return 0;
        }
    """
    process = start(c_program(source, "-Wno-unused-result"))
    # the dynamic loader sleeps too, and changes the maps afterwards
    assert poll(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "loaded\n" or None, 5)
    looks: list[snapshot.Snapshot] = []
    while len(looks) < 3:
        look = snapshot.take(process.pid, False, frozenset())
        name = f"task {process.pid} thread {process.pid}{snapshot.REGISTERS}"
        if name in look.sections:
            assert any(line.startswith("rip=") for line in look.sections[name])
            assert any(line.startswith("fp+") for line in look.sections[name])
            looks.append(look)
    assert snapshot.difference(looks[0], looks[1]) == snapshot.difference(looks[0], looks[2]) == ""
    assert process.log.read_bytes() == b""  # type: ignore[attr-defined]


def test_images_hold_what_the_statistics_say(project: Project) -> None:
    project.case("one")
    assert project.run("--keep").status == 0
    kept = project.root / "build" / "artefacts" / "one-host"
    check_page_count(kept / "images-1", kept / "work-1")
    with open(kept / "images-1" / "pages-1.img", "ab") as pages:
        pages.write(bytes(4096))
    with pytest.raises(StateDiffers, match="the statistics say"):
        check_page_count(kept / "images-1", kept / "work-1")
