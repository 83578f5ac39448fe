"""Uprobes: what the options are for, and a probe that is removed while the task is away."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

import pytest

from engine.context import Schema
from engine.images.files import Images
from engine.kernel import proc
from zdtm.tests.tasks import Criu, wait

TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
PERF_EVENT_OPEN, PERF_FLAG_FD_CLOEXEC = 298, 8
PROGRAM = r"""
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int probed(int n);
__asm__(".globl probed\n.type probed, @function\nprobed:\n" BODY "\tret\n");

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

int main(void)
{
	signal(SIGTERM, finish);
	while (!done) {
		if (probed(5) != 12)
			return 1;
		usleep(1000);
	}
	return 0;
}
"""
LEA = '"lea 7(%rdi), %eax\\n"'  # the kernel runs it out of line
NOP = '".byte 0x0f, 0x1f, 0x44, 0, 0\\nlea 7(%rdi), %eax\\n"'  # five bytes, which it makes a call


class Probe:
    """A uprobe at the start of a function, for as long as it is not closed."""

    def __init__(self, program: Path, function: str) -> None:
        symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines()
        offset = next(int(line.split()[0], 16) for line in symbols if line.endswith(f" {function}"))
        path = ctypes.create_string_buffer(os.fsencode(program))
        attr = ctypes.create_string_buffer(
            128
        )  # struct perf_event_attr: type, size; config1 is the path, config2 where
        for at, value in ((0, int(TYPE.read_text()) | len(attr) << 32), (56, ctypes.addressof(path)), (64, offset)):
            attr[at : at + 8] = value.to_bytes(8, "little")
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.syscall(PERF_EVENT_OPEN, attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)
        if self.fd < 0:
            pytest.skip(f"no uprobe can be made: {os.strerror(ctypes.get_errno())}")

    def close(self) -> None:
        """Remove it."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


@pytest.fixture
def make_probe():  # type: ignore[no-untyped-def]
    """`make_probe(program, function)`."""
    if not TYPE.exists():
        pytest.skip("this kernel has no uprobes")
    probes: list[Probe] = []

    def make(program: Path, function: str) -> Probe:
        probes.append(Probe(program, function))
        return probes[-1]

    yield make
    for probe in probes:
        probe.close()


def mapped(pid: int) -> list[str]:
    return [v.path for v in proc.smaps(pid) if v.path.startswith("[uprobes")]


@pytest.fixture
def probed(c_program, start, make_probe):  # type: ignore[no-untyped-def]
    """A task that has met a uprobe; its probe is `.probe`."""
    program = c_program(PROGRAM, f"-DBODY={LEA}")
    process = start(program)
    process.probe = make_probe(program, "probed")
    wait(lambda: mapped(process.pid) == ["[uprobes]"])
    return process


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0


def test_refused_without_the_option(criu: Criu, probed, images: str) -> None:  # type: ignore[no-untyped-def]
    done = criu("dump", "-t", str(probed.pid), "-D", images, check=False)
    assert done.returncode == 1
    assert "[uprobes]: has met uprobes; use --allow-uprobes" in done.stderr
    assert os.listdir(images) == []
    end(probed.pid)


@pytest.mark.parametrize("gone", [True, False], ids=["removed", "still-there"])
def test_probe_while_the_task_is_away(criu: Criu, probed, images: str, gone: bool) -> None:  # type: ignore[no-untyped-def]
    """Nothing of it is in the images: the kernel sets its breakpoints again, if they are still wanted."""
    criu("dump", "-t", str(probed.pid), "-D", images, "--allow-uprobes")
    probed.wait()
    done = criu("restore", "-d", "-D", images, check=False)
    assert done.returncode == 1
    assert "--allow-uprobes" in done.stderr
    if gone:
        probed.probe.close()
    criu("restore", "-d", "-S", "-D", images, "--allow-uprobes")
    if not gone:
        wait(lambda: mapped(probed.pid) == ["[uprobes]"])
    end(probed.pid)


def test_option_alone_marks_nothing(criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    """A task that has met none: its images can be restored without."""
    criu("dump", "-t", str(quiet.pid), "-D", images, "--allow-uprobes")
    quiet.wait()
    assert not Images.open(Schema(), images).read_one("INVENTORY").HasField("allow_uprobes")


def test_optimised_uprobe_is_refused(criu: Criu, c_program, start, make_probe, images: str) -> None:  # type: ignore[no-untyped-def]
    """Its text calls into a mapping of the kernel's (since Linux 6.18)."""
    program = c_program(PROGRAM, f"-DBODY={NOP}")
    process = start(program)
    make_probe(program, "probed")
    wait(lambda: bool(mapped(process.pid)))
    if "[uprobes-trampoline]" not in mapped(process.pid):
        pytest.skip("this kernel does not optimise uprobes")
    done = criu("dump", "-t", str(process.pid), "-D", images, "--allow-uprobes", check=False)
    assert "[uprobes-trampoline]: its code calls into this mapping" in done.stderr
    end(process.pid)


def test_peer_restores_without_the_probe(criu: Criu, probed, images: str, peer_criu: Path) -> None:  # type: ignore[no-untyped-def]
    """No breakpoint of ours is left to it, with nobody to handle it."""
    criu("dump", "-t", str(probed.pid), "-D", images, "--allow-uprobes")
    probed.wait()
    probed.probe.close()
    command = [str(peer_criu), "restore", "-d", "-S", "-D", images, "-o", "restore.log", "--allow-uprobes"]
    subprocess.run(command, check=True, timeout=30)
    end(probed.pid)
