"""`criu restore` as its users see it: options, exit codes, a pid that is taken, a restore that fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.kernel import proc
from zdtm.tests.tasks import Criu, end_restored, imported, wait


def test_restored_as_a_child_of_the_caller(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("restore", "-d", "--restore-sibling", "-D", images)
    stat = proc.Stat(dumped.pid)
    assert stat.ppid == os.getpid()
    assert (stat.sid, stat.pgid) == (dumped.pid, dumped.pid)
    end_restored(dumped.pid)


def test_detached_task_outlives_criu(criu: Criu, dumped, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    criu("restore", "-d", "-D", images, "--pidfile", str(tmp_path / "pid"))
    pid = int((tmp_path / "pid").read_text())
    assert pid == dumped.pid
    time.sleep(0.05)
    status = proc.status(pid)
    assert status["State"].startswith("S")
    assert status["TracerPid"] == "0"
    os.kill(pid, signal.SIGKILL)


def test_waits_for_the_end_without_detached(engine_criu: Path, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    waiting = subprocess.Popen([engine_criu, "restore", "-D", images])
    wait(lambda: os.path.exists(f"/proc/{dumped.pid}") and proc.Stat(dumped.pid).comm == "quiet")
    wait(lambda: proc.status(dumped.pid)["TracerPid"] == "0")
    assert proc.Stat(dumped.pid).ppid == waiting.pid
    assert waiting.poll() is None
    os.kill(dumped.pid, signal.SIGTERM)
    assert waiting.wait(5) == 0


def test_restore_imports_little(engine_criu: Path, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """The start-up budget, as for dumps (test_dump.py): nothing that is for namespaces, none of the slow ones."""
    names = imported(engine_criu, "restore", "-d", "-S", "-D", images)
    end_restored(dumped.pid)
    assert len(names) <= 114


def test_left_stopped(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("restore", "-d", "-S", "--leave-stopped", "-D", images)
    wait(lambda: proc.Stat(dumped.pid).state == "T")
    os.kill(dumped.pid, signal.SIGCONT)
    end_restored(dumped.pid)


def test_plan_is_shown_and_nothing_done(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    before = sorted(os.listdir(images))
    out = criu("restore", "--plan", "-D", images).stdout
    assert re.match(rf"task {dumped.pid}: \d+ operations\n", out)
    for what in ("mmap(", "preadv(", "prctl(", "rt_sigaction(", "# fd 0: /dev/null", "park("):
        assert what in out
    assert not os.path.exists(f"/proc/{dumped.pid}")
    assert sorted(os.listdir(images)) == before


def test_statistics(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    out = criu("restore", "-d", "-S", "-D", images, "--display-stats").stdout
    restored = int(re.search(r"Pages restored: (\d+)", out).group(1))  # type: ignore[union-attr]
    pages = (Path(images) / "pages-1.img").stat().st_size // 4096
    vdso = next(v for v in proc.smaps(dumped.pid) if v.path == "[vdso]")
    assert restored == pages - (vdso.end - vdso.start) // 4096  # the vdso's are compared, not loaded
    assert (Path(images) / "stats-restore").exists()
    end_restored(dumped.pid)


def _take(pid: int) -> subprocess.Popen[bytes]:
    """A process with this pid; it sleeps."""
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(100)"
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(pid - 1))
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        if child.pid == pid:
            return child
        child.kill()
        child.wait()


def test_taken_pid_names_its_holder(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    holder = _take(dumped.pid)
    try:
        start = time.monotonic()
        done = criu("restore", "-d", "-D", images, check=False)
        assert done.returncode == 1
        assert f"pid {dumped.pid} is taken: 'python" in done.stderr
        assert time.monotonic() - start < 1.5
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()


def test_zombie_with_the_pid_is_waited_for(engine_criu: Path, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    holder = _take(dumped.pid)
    holder.kill()
    wait(lambda: proc.Stat(dumped.pid).state == "Z")
    restore = subprocess.Popen([engine_criu, "restore", "-d", "-S", "-D", images])
    time.sleep(0.2)
    holder.wait()
    assert restore.wait(5) == 0
    end_restored(dumped.pid)


@pytest.mark.parametrize("damage", ["gone", "shorter", "mode"])
def test_changed_file_fails_and_leaves_nothing(criu: Criu, dumped, images: str, tmp_path: Path, damage: str) -> None:  # type: ignore[no-untyped-def]
    log, program = dumped.log, Path(dumped.args[0])
    if damage == "gone":
        log.rename(tmp_path / "elsewhere")
    elif damage == "shorter":
        program.write_bytes(program.read_bytes()[:-1])
    else:
        log.chmod(0o640)
    named = program if damage == "shorter" else log
    before = sorted(os.listdir(images))
    done = criu("restore", "-d", "-D", images, "--pidfile", str(tmp_path / "pid"), check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(named) in done.stderr
    assert not os.path.exists(f"/proc/{dumped.pid}")
    assert not (tmp_path / "pid").exists()
    assert sorted(os.listdir(images)) == before


def test_failed_operation_is_told_whole(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """An image that asks for the impossible: the program's failure names operation, call, arguments and errno."""
    from engine.context import Schema
    from engine.images.files import Images

    store = Images.open(Schema(), images)
    core = store.read_one("CORE", dumped.pid)
    core.thread_core.creds.cap_eff[0] = 0xFFFFFFFF
    core.thread_core.creds.cap_prm[0] = 0
    store.write("CORE", (dumped.pid,), [core])
    done = criu("restore", "-d", "-D", images, check=False)
    assert done.returncode == 1
    pattern = rf"task {dumped.pid}: operation \d+: capset\(.*\)  # effective .*: Operation not permitted \(errno 1\)"
    assert re.search(pattern, done.stderr), done.stderr
    assert not os.path.exists(f"/proc/{dumped.pid}")


def test_images_on_a_read_only_file_system(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """Nothing needs to be written: the statistics are missed with a warning."""
    subprocess.run(["mount", "--bind", images, images], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", images], check=True)
        done = criu("restore", "-d", "-S", "-D", images)
        assert "Warn" in done.stderr
        assert "stats-restore" in done.stderr
        end_restored(dumped.pid)
    finally:
        subprocess.run(["umount", images], check=True)


def test_failure_at_the_last_moment_leaves_nothing(criu: Criu, dumped, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = sorted(os.listdir(images))
    done = criu("restore", "-d", "-D", images, "--pidfile", str(tmp_path / "no" / "pid"), check=False)
    assert done.returncode == 1
    assert str(tmp_path / "no" / "pid") in done.stderr
    assert not os.path.exists(f"/proc/{dumped.pid}")
    assert sorted(os.listdir(images)) == before


def test_descriptors_above_the_engines_limit(engine_criu: Path, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    source = """
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>
    int main(void)
    {
        dup2(open("/dev/null", O_RDONLY), 900);
        puts("ready");
        fflush(stdout);
        for (;;)
            pause();
    }
    """
    process = start(c_program(source))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    limited = ["prlimit", "--nofile=64:", str(engine_criu)]
    subprocess.run([*limited, "dump", "-t", str(process.pid), "-D", images], check=True)
    process.wait()
    before = proc.limits(os.getpid())[7]
    subprocess.run([*limited, "restore", "-d", "-S", "-D", images], check=True)
    assert os.readlink(f"/proc/{process.pid}/fd/900") == "/dev/null"
    assert proc.limits(process.pid)[7] == before
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def test_file_mode_is_not_compared_when_told_so(criu: Criu, dumped, images: str) -> None:  # type: ignore[no-untyped-def]
    """The remedy that the error of a changed mode names."""
    dumped.log.chmod(0o640)
    assert "--skip-file-rwx-check" in criu("restore", "-d", "-D", images, check=False).stderr
    criu("restore", "-d", "-S", "-D", images, "--skip-file-rwx-check")
    end_restored(dumped.pid)
