"""`criu dump` as its users see it: options, exit codes, log, and a task that notices nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from engine.kernel import memory, proc
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, finish, imported, present_pages, wait


def test_task_is_gone_after_a_dump(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-t", str(quiet.pid), "-D", images)
    assert quiet.wait(5) == -signal.SIGKILL
    names = set(os.listdir(images))
    pid = quiet.pid
    assert {f"core-{pid}.img", f"mm-{pid}.img", f"pagemap-{pid}.img", "pages-1.img", "inventory.img"} <= names
    assert {"pstree.img", "files.img", "fdinfo-2.img", f"fs-{pid}.img", f"ids-{pid}.img", "stats-dump"} <= names


def test_leave_running_disturbs_nothing(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    """SIGTRAP ignored and blocked, stack, mappings, signal state, the vdso's bytes: all as before."""

    def look() -> tuple[object, ...]:
        status = proc.status(quiet.pid)
        vdso = next(v for v in proc.smaps(quiet.pid) if v.path == "[vdso]")
        return (
            proc.read_text(f"/proc/{quiet.pid}/maps"),
            present_pages(quiet.pid, "[stack]"),
            [status[key] for key in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "TracerPid", "State")],
            memory.read(quiet.pid, vdso.start, vdso.end - vdso.start),
            proc.read_text(f"/proc/{quiet.pid}/syscall"),
        )

    before = look()
    for _ in range(5):
        criu("dump", "-R", "-t", str(quiet.pid), "-D", images)
        wait(lambda: proc.Stat(quiet.pid).state == "S")
        assert look() == before
    finish(quiet)


def test_leave_stopped(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "--leave-stopped", "--tree", str(quiet.pid), "-D", images)
    assert proc.Stat(quiet.pid).state == "T"
    quiet.send_signal(signal.SIGCONT)
    wait(lambda: proc.Stat(quiet.pid).state == "S")
    finish(quiet)


def test_signals_that_arrive_while_frozen_are_kept(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    """A blocked signal stays pending, in the task that runs on and in the restored one."""
    quiet.send_signal(signal.SIGUSR1)
    criu("dump", "-R", "-t", str(quiet.pid), "-D", images)
    assert int(proc.status(quiet.pid)["ShdPnd"], 16) == 1 << (signal.SIGUSR1 - 1)
    criu("dump", "-t", str(quiet.pid), "-D", images)
    quiet.wait()
    criu("restore", "-d", "-S", "-D", images)
    assert int(proc.status(quiet.pid)["ShdPnd"], 16) == 1 << (signal.SIGUSR1 - 1)
    end_restored(quiet.pid)


def test_log_levels_and_format(criu: Criu, quiet, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    work = tmp_path / "work"
    work.mkdir()
    args = ("dump", "-R", "-t", str(quiet.pid), "-D", images, "-W", str(work), "-o", "dump.log")
    done = criu(*args, "-v4")
    assert done.stdout == done.stderr == ""
    lines = (work / "dump.log").read_text().splitlines()
    assert lines
    assert all(re.match(r"\(\d\d\.\d{6}\) ", line) for line in lines)
    assert "Dumping finished successfully" in lines[-1]
    criu(*args)
    assert (work / "dump.log").read_text() == ""  # level 2: warnings, and there are none
    criu("dump", "-t", "999999", "-D", images, "-W", str(work), "-o", "dump.log", check=False)
    assert re.match(r"Error \(engine/\w+\.py:\d+\): pid 999999 does not exist", (work / "dump.log").read_text())


def test_display_stats(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    out = criu("dump", "-R", "-t", str(quiet.pid), "-D", images, "--display-stats").stdout
    written = int(re.search(r"Memory pages written: (\d+)", out).group(1))  # type: ignore[union-attr]
    assert written * 4096 == (Path(images) / "pages-1.img").stat().st_size > 0
    assert int(re.search(r"Frozen time: (\d+) us", out).group(1)) > 0  # type: ignore[union-attr]


def test_job_of_a_shell_needs_the_option(criu: Criu, c_program, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    log = open(tmp_path / "job.log", "wb")  # noqa: SIM115
    job = subprocess.Popen([c_program(PROGRAMS / "quiet.c")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait(lambda: (tmp_path / "job.log").read_bytes() == b"ready\n")
        refused = criu("dump", "-t", str(job.pid), "-D", images, check=False)
        assert refused.returncode == 1
        assert "--shell-job" in refused.stderr
        assert proc.Stat(job.pid).state in "SR"
        criu("dump", "-t", str(job.pid), "-D", images, "--shell-job")
        assert job.wait() == -signal.SIGKILL
        assert "--shell-job" in criu("restore", "-d", "-D", images, check=False).stderr
        criu("restore", "-d", "-S", "-D", images, "--shell-job")
        assert proc.Stat(job.pid).sid == os.getsid(0)
        end_restored(job.pid)
    finally:
        job.kill()


def test_preflight_names_every_blocker_at_once(criu: Criu, c_program, start, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = """
    #include <pthread.h>
    #include <stdio.h>
    #include <sys/shm.h>
    #include <sys/socket.h>
    #include <unistd.h>
    static void *sleeper(void *arg) { pause(); return arg; }
    int main(void)
    {
        pthread_t t;
        int p[2], id = shmget(IPC_PRIVATE, 8192, 0600);
        socket(AF_UNIX, SOCK_SEQPACKET, 0);
        socket(AF_UNIX, SOCK_STREAM, 0);
        pipe(p);
        shmat(id, NULL, 0);
        shmctl(id, IPC_RMID, NULL);
        if (!fork())
            pause();
        pthread_create(&t, NULL, sleeper, NULL);
        puts("ready");
        fflush(stdout);
        pause();
    }
    """
    process = start(c_program(source, "-pthread", "-Wno-unused-result"))
    try:
        wait(lambda: process.log.read_bytes() == b"ready\n")
        done = criu("dump", "-t", str(process.pid), "-D", images, check=False)
        assert done.returncode == 1
        kid = proc.children(process.pid)[0]
        for pid in (process.pid, kid):
            for what in ("socket", "System V shared memory", "fd 3 "):
                assert f"pid {pid}: " in done.stderr, pid
                assert what in done.stderr, what
        lines = done.stderr.splitlines()
        assert all(re.match(rf"Error \(.*\): preflight: pid ({process.pid}|{kid}): ", line) for line in lines)
        assert os.listdir(images) == []
        assert process.poll() is None
        assert proc.status(process.pid)["TracerPid"] == "0"
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_other_tracer_is_named(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    from engine.kernel import ptrace

    tracee = ptrace.Tracee(quiet.pid)
    tracee.seize(0)
    done = criu("dump", "-t", str(quiet.pid), "-D", images, check=False)
    assert done.returncode == 1
    assert f"is traced by pid {os.getpid()}" in done.stderr
    tracee.interrupt()
    tracee.wait_event_stop()
    tracee.detach()
    finish(quiet)


def test_dump_imports_little(engine_criu: Path, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    """The start-up budget: what the interpreter itself has not imported, and why the number is what it is.

    An idle process is dumped in less time than CRIU's 40 ms; every module costs 0.2 to 0.5 ms of them.
    """
    assert len(imported(engine_criu, "dump", "-R", "-t", str(quiet.pid), "-D", images)) <= 102
    finish(quiet)
