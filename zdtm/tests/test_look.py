"""A dump looks at a tree that runs first: it must not disturb it, nor stumble over what ends or changes meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.files import fd
from engine.kernel import files, proc
from zdtm.tests.tasks import PROGRAMS

PIDFD_GETFD = 438

# A descriptor of each of many kinds: held by somebody else, each would keep something that its task has closed.
HOLDER = """
import os, select, signal, socket, sys
os.mkfifo("fifo")
kept = [os.open("fifo", os.O_RDONLY | os.O_NONBLOCK), os.open("file", os.O_RDWR | os.O_CREAT), *os.pipe()]
kept += [os.eventfd(0), os.timerfd_create(0) if hasattr(os, "timerfd_create") else os.memfd_create("m")]
its = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]
its[0].bind(("127.0.0.1", 0))
its[1].bind("\\0zdtm-look-%d" % os.getpid())
watches = select.epoll()
watches.register(its[0], select.EPOLLIN)
sys.stdout.write("ready\\n")
sys.stdout.flush()
signal.pause()
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A task in our own session, which is a blocker without --shell-job."""
    task = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=tmp_path, stdout=subprocess.PIPE)
    assert task.stdout
    task.stdout.readline()
    yield task
    task.kill()
    task.wait()
    task.stdout.close()


def test_nothing_of_a_running_task_is_held(engine_criu: Path, c_program, holder, images: str) -> None:  # type: ignore[no-untyped-def]
    """The whole preflight, without one copy of a descriptor."""
    denies = c_program(PROGRAMS / "denies.c")
    dump = [engine_criu, "dump", "-t", str(holder.pid), "-D", images]
    done = subprocess.run([denies, str(PIDFD_GETFD), *dump], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "--shell-job" in done.stderr, (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) == 2, done.stderr  # the session's leader, and that of the group
    dump += ["--shell-job", "--leave-running"]
    done = subprocess.run([denies, str(PIDFD_GETFD), *dump], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGSYS  # or this test would see nothing


def test_both_looks_agree(holder) -> None:  # type: ignore[no-untyped-def]
    """What names tell of a running task is to the byte what copies tell of a frozen one; but for pipes."""
    names = {files.number(row): row for row, _ in files.rows(holder.pid, True)}
    copies = {files.number(row): row for row, _ in files.rows(holder.pid, False)}
    pipes = [n for n, row in copies.items() if fd.Descriptor(holder.pid, row, False).link.startswith("pipe:")]
    assert len(pipes) == 3 and not names.keys() & set(pipes)
    assert names == {n: row for n, row in copies.items() if n not in pipes}


def test_what_has_changed_is_known(holder) -> None:  # type: ignore[no-untyped-def]
    """Another file under the same number, or of the same name, or none: `is_gone`."""
    mine = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = next(d for d in fd.descriptors(os.getpid()) if d.fd == mine)
        assert not found.is_gone()
        os.dup2(holder.stdout.fileno(), mine)
        assert found.is_gone()
    finally:
        os.close(mine)
    assert found.is_gone()


def test_who_ends_has_no_mounts() -> None:
    """The kernel says EINVAL of a task that is ending, which is no error of the dump."""
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessLookupError):
            proc.mountinfo(child)
    finally:
        os.waitpid(child, 0)
    assert " / / " in proc.mountinfo("self")
