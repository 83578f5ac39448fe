"""`criu check`: the table of probes, the answers, their cache, and what the command says."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import check
from engine.kernel import features, probes
from engine.kernel.features import Features
from engine.kernel.probes import PROBES, Probe
from engine.log import Log

NAMES = (
    *("mnt_id", "mem_dirty_track", "aio_remap", "timerfd", "tun", "tun_ns", "userns", "fdinfo_lock"),
    *("seccomp_suspend", "seccomp_filters", "loginuid", "cgroupns", "autofs", "tcp_half_closed", "compat_cr"),
    *("uffd", "uffd-noncoop", "can_map_vdso", "sk_ns", "sk_unix_file", "net_diag_raw", "nsid", "link_nsid"),
    *("kcmp_epoll", "timens", "external_net_ns", "clone3_set_tid", "newifindex", "nftables", "has_ipt_legacy"),
    *("pidfd_store", "ns_pid", "apparmor_stacking", "network_lock_nftables", "sockopt_buf_lock", "memfd_hugetlb"),
    *("move_mount_set_group", "openat2", "get_rseq_conf", "ipv6_freebind", "pagemap_scan", "timer_cr_ids"),
    *("overlayfs_maps", "breakpoints", "pagemap_scan_guard_pages"),
)
REQUIRED = {"mnt_id", "can_map_vdso", "clone3_set_tid", "get_rseq_conf", "pagemap_scan"}

# Where we may answer otherwise than the peer: our answer, and why it is the right one.
OTHERWISE = {
    "net_diag_raw": (
        False,
        "without CONFIG_INET_RAW_DIAG the kernel says ENOENT to every request, which the peer takes for 'no such "
        "socket'; our probe has a raw socket, and looks for it",
    ),
}


def row(name: str) -> Probe:
    """The row of a feature."""
    found = probes.probe(name)
    assert found is not None
    return found


def everything() -> tuple[object, ...]:
    """What a probe must leave alone: namespaces, mounts, descriptors, children, signals."""
    spaces = tuple(os.readlink(f"/proc/self/ns/{n}") for n in ("mnt", "net", "user", "pid", "cgroup", "time"))
    # only where a probe would mount something: other tests may run at the same time
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounts = [place for place in places if place in ("/mnt", "/tmp", "/run", "/dev")]
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    told = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Seccomp", "TracerPid", "Cap")
    status = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(told)]
    return spaces, mounts, len(os.listdir("/proc/self/fd")), children, status, os.getuid()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(os.open(tmp_path / "check.log", os.O_RDWR | os.O_CREAT | os.O_APPEND))


def said(log: Log) -> str:
    """All that is in a log."""
    return os.pread(log.fd, 1 << 16, 0).decode()


def options(**given: object) -> SimpleNamespace:
    """Options of check."""
    return SimpleNamespace(**{"all": False, "extra": False, "experimental": False, "features": [], **given})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Every feature is there, unless the test changes this; no probe runs."""
    given = dict.fromkeys(NAMES, True)
    monkeypatch.setattr(Features, "load", lambda: Features("", "", {}))
    monkeypatch.setattr(Probe, "__call__", lambda self: given[self.name])
    return given


def test_names() -> None:
    assert tuple(p.name for p in PROBES) == NAMES
    assert len(set(NAMES)) == len(NAMES) == 45


def test_rows_are_complete_and_frozen() -> None:
    for p in PROBES:
        assert p.group in (probes.REQUIRED, probes.EXTRA, probes.EXPERIMENTAL, probes.OTHER)
        assert p.what and p.need and p.remedy and callable(p.ask) and p.ask.__doc__, p
        with pytest.raises(AttributeError):
            p.name = "other"
    assert {p.name for p in PROBES if p.group == probes.REQUIRED} == REQUIRED


def test_every_probe_answers_and_leaves_nothing_behind() -> None:
    before = everything()
    for p in PROBES:
        assert isinstance(p(), bool), p
        assert everything() == before, p


def test_required_features_are_there() -> None:
    """The engine's other tests dump and restore on this very machine: these probes must say yes."""
    assert [name for name in sorted(REQUIRED) if not row(name)()] == []


@pytest.mark.parametrize("end", ["raises", "dies", "hangs"])
def test_a_probe_that_fails_says_no(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises() -> bool:
        raise OSError(38, "no such call")

    def dies() -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    def hangs() -> bool:
        while True:
            os.sched_yield()

    monkeypatch.setattr(probes.raw, "SECONDS", 1)
    assert probes.raw.isolate({"raises": raises, "dies": dies, "hangs": hangs}[end]) is False


def test_second_load_runs_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("mnt_id", "openat2", "ns_pid")
    first = Features.load(str(tmp_path)).ask(names)
    assert os.listdir(tmp_path) == [f"zdtm-features-{os.geteuid()}"]
    monkeypatch.setattr(Probe, "__call__", lambda self: pytest.fail(f"{self.name} is probed again"))
    assert Features.load(str(tmp_path)).ask(names) == first
    assert Features.load(str(tmp_path)).has("mnt_id") is first["mnt_id"]


def test_unknown_name() -> None:
    with pytest.raises(KeyError):
        Features("", "", {}).has("no_such_feature")


def test_a_no_is_asked_again_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"tun": False}
    monkeypatch.setattr(Probe, "__call__", lambda self: there[self.name])
    assert not Features.load(str(tmp_path)).has("tun")
    there["tun"] = True
    assert not Features.load(str(tmp_path)).has("tun")
    assert Features.load(str(tmp_path)).ask(["tun"], again=True) == {"tun": True}
    assert Features.load(str(tmp_path)).has("tun")


def turn(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BAD = {
    "empty": lambda p: p.write_text(""),
    "binary": lambda p: p.write_bytes(bytes(range(256))),
    "cut off": lambda p: p.write_text(p.read_text()[:-2]),
    "answer": lambda p: turn(p, "mnt_id no", "mnt_id maybe"),
    "line": lambda p: turn(p, "mnt_id no", "mnt_id no no"),
    "boot": lambda p: turn(p, "-", "0"),
    "kernel": lambda p: turn(p, os.uname().release, "6.0.0"),
    "open to others": lambda p: p.chmod(0o644),
    "a link": lambda p: p.symlink_to(p.rename(p.with_name("elsewhere"))),
    "a fifo": lambda p: (p.unlink(), os.mkfifo(p, 0o600)),
    "a directory": lambda p: (p.unlink(), p.mkdir()),
    "somebody else's": lambda p: os.chown(p, 12345, -1),
}


@pytest.mark.parametrize("how", BAD)
def test_bad_cache_is_ignored(how: str, tmp_path: Path) -> None:
    path = tmp_path / f"zdtm-features-{os.geteuid()}"
    key = features._key()
    path.write_text(f"{key}\nmnt_id no\nend\n")
    path.chmod(0o600)
    assert not Features.load(str(tmp_path)).has("mnt_id")  # it was believed
    if how == "somebody else's" and os.geteuid():
        pytest.skip("only root can give files away")
    BAD[how](path)
    assert Features.load(str(tmp_path)).has("mnt_id")


def test_cache_is_private_and_optional(tmp_path: Path) -> None:
    Features.load(str(tmp_path)).has("mnt_id")
    assert (tmp_path / f"zdtm-features-{os.geteuid()}").stat().st_mode & 0o777 == 0o600
    assert Features.load(str(tmp_path / "missing")).has("mnt_id")
    assert Features.load("").has("mnt_id")


def test_all_is_well(answers, log, capsys) -> None:  # type: ignore[no-untyped-def]
    assert check.run(options(all=True), log) == 0
    assert capsys.readouterr().out == "Looks good.\n"
    assert said(log) == ""


def test_missing_required(answers, log, capsys) -> None:  # type: ignore[no-untyped-def]
    answers["pagemap_scan"] = answers["mnt_id"] = False
    assert check.run(options(), log) == 1
    assert "Looks good" not in capsys.readouterr().out
    lines = said(log).splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("mnt_id", "pagemap_scan"), strict=True):
        assert line.startswith("Error (engine/check.py:")
        assert name in line and row(name).need in line and row(name).remedy in line


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        ((), ()),
        (("extra",), ("tun",)),
        (("experimental",), ("autofs",)),
        (("extra", "experimental"), ("tun", "autofs")),
        (("all",), ("tun", "autofs", "apparmor_stacking")),
    ],
)
def test_missing_optional(flags, warned, answers, log, capsys) -> None:  # type: ignore[no-untyped-def]
    for name in ("tun", "autofs", "apparmor_stacking"):
        answers[name] = False
    assert check.run(options(**dict.fromkeys(flags, True)), log) == bool(warned)
    out = capsys.readouterr().out
    assert out.startswith("Looks good") and (out == "Looks good.\n") is not bool(warned)
    lines = said(log).splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == list(warned)
    assert all(line.startswith("Warn  (engine/check.py:") for line in lines)


def test_several_features(answers, log, capsys) -> None:  # type: ignore[no-untyped-def]
    assert check.run(options(features=["uffd,tun", "openat2"]), log) == 0
    assert capsys.readouterr().out == "uffd is supported\ntun is supported\nopenat2 is supported\n"
    answers["tun"] = False
    assert check.run(options(features=["uffd, tun", "openat2"]), log) == 1
    assert capsys.readouterr().out == "uffd is supported\ntun is not supported\nopenat2 is supported\n"


def test_unknown_feature(answers, log, capsys) -> None:  # type: ignore[no-untyped-def]
    assert check.run(options(features=["uffd,nonsense"]), log) == 1
    out = capsys.readouterr().out
    assert tuple(out.split()) == NAMES
    assert max(map(len, out.splitlines())) <= 80
    assert "'nonsense'" in said(log) and len(said(log).splitlines()) == 1


@pytest.mark.parametrize("args", [(), ("--extra",), ("--experimental",), ("--all",)])
def test_command(criu, args) -> None:  # type: ignore[no-untyped-def]
    done = criu("check", *args, check=not args)
    assert done.stdout.startswith("Looks good")
    assert done.returncode == ("Warn" in done.stderr)
    assert "Error" not in done.stderr


def test_command_feature(criu) -> None:  # type: ignore[no-untyped-def]
    done = criu("check", "--feature", "pagemap_scan")
    assert (done.stdout, done.stderr) == ("pagemap_scan is supported\n", "")
    done = criu("check", "--feature", "nonsense", check=False)
    assert done.returncode == 1 and tuple(done.stdout.split()) == NAMES and "'nonsense'" in done.stderr


def test_same_as_peer(peer_criu: Path) -> None:
    found = []
    for name in NAMES:
        command = [peer_criu, "check", "--feature", name]
        theirs = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30).returncode == 0
        ours = row(name)()
        if ours != theirs and (name not in OTHERWISE or ours != OTHERWISE[name][0]):
            found.append(f"{name}: ours {ours}, the peer's {theirs}")
    assert found == []
