"""32-bit tasks: what is refused, that a visit leaves no trace wherever it ends, and images like the peer's."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.arch import x86_64
from engine.context import Schema, built
from engine.images.files import Images
from engine.kernel import proc
from engine.plan import abi
from engine.plan.program import Arena, Machine, place
from zdtm.build import missing_32_bit
from zdtm.tests.killing import visited_and_killed, wait_until
from zdtm.tests.tasks import Criu
from zdtm.tests.test_kill import WORKER, counter, settled, state, works
from zdtm.tests.test_same_images import SOURCE, differing

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="only for x86_64"),
    pytest.mark.skipif(bool(why := missing_32_bit(("-m32",))), reason=f"this machine has no {why}"),
]

# Executes what `change` says in the place of %s, and waits.
ODD = """
#include <asm/ldt.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    struct user_desc desc = {.base_addr = (uintptr_t)&desc, .limit = 15, .seg_32bit = 1, .useable = 1};

    (void)desc;
    puts("ready");
    fflush(stdout);
    %s
    for (;;)
        pause();
}
"""
OWN_SEGMENT = """
    syscall(SYS_modify_ldt, 1, &desc, sizeof(desc));
    __asm__ volatile("mov %w0, %%fs" :: "r"(7));
"""
IN_64_BIT = """
    static const unsigned char loop[] __attribute__((section(".text"))) = {0xeb, 0xfe};
    struct { uint32_t at; uint16_t cs; } __attribute__((packed)) far = {(uintptr_t)loop, 0x33};
    __asm__ volatile("ljmp *%0" :: "m"(far));
"""

# Two threads count in a file: one in the kernel for the most part, one never; every value that is kept is checked.
THREADS = """
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t *counters;
static __thread uint64_t own;

static void *spin(void *unused)
{
    uint32_t sum = 0;

    (void)unused;
    for (own = 1;; own++) {
        sum += (uint32_t)own;
        if (sum != (uint32_t)(own * (own + 1) / 2))
            abort();
        counters[1] = own;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int fd = open(argv[argc - 1], O_RDWR | O_CREAT, 0600);
    struct timespec nap = {0, 200000};
    pthread_t id;

    ftruncate(fd, 16);
    counters = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pthread_create(&id, NULL, spin, NULL))
        abort();
    for (own = 1;; own++) {
        if (nanosleep(&nap, NULL))
            abort();
        counters[0] = own;
    }
}
"""


def waiting(process: Any) -> None:
    wait_until("it starts", lambda: process.log.read_bytes() == b"ready\n")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (OWN_SEGMENT, "uses segments of its own (modify_ldt(2)): fs is 0x7"),
        (IN_64_BIT, "is a 32-bit program in 64-bit code"),
    ],
)
def test_refused_by_name(criu: Criu, c_program, start, images: str, change: str, name: str) -> None:  # type: ignore[no-untyped-def]
    process = start(c_program(ODD % change, "-m32"))
    waiting(process)
    before = proc.read_text(f"/proc/{process.pid}/maps")
    wait_until("it is there", lambda: "0x33" in change or proc.Stat(process.pid).state == "S")
    done = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    assert done.returncode == 1
    assert name in done.stderr
    assert process.poll() is None
    assert proc.read_text(f"/proc/{process.pid}/maps") == before
    assert not os.listdir(images)


def test_parasite_without_its_tracer_goes_home(c_program, start, reaper, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """To 32-bit code, out of a 64-bit program: the engine dies between any two of its steps."""
    count = tmp_path / "count"
    worker = start(c_program(WORKER, "-m32", "-msse2", "-mfpmath=sse"), str(count))
    wait_until("the worker starts", lambda: count.exists() and len(count.read_bytes()) == 8)
    before = state(worker.pid)
    step = 0
    while visited_and_killed(worker.pid, step, 0.0):
        assert settled(worker.pid, before) == before, f"died at step {step}"
        works(count)
        step += 1
    assert settled(worker.pid, before) == before
    assert counter(count) > step > 100


def test_parasite_without_its_tracer_leaves_threads(c_program, start, reaper, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The same for a thread that visits the arena while another waits there."""

    def counters() -> tuple[int, ...]:
        return struct.unpack("<QQ", count.read_bytes())

    def both_work() -> None:
        before = counters()
        wait_until("both count", lambda: all(new > old + 1 for new, old in zip(counters(), before, strict=True)))

    count = tmp_path / "count"
    worker = start(c_program(THREADS, "-m32", "-pthread", "-Wno-unused-result"), str(count))
    wait_until("it starts", lambda: count.exists() and len(count.read_bytes()) == 16 and all(counters()))
    before = state(worker.pid)
    step = 0
    while visited_and_killed(worker.pid, step, 0.0):
        assert settled(worker.pid, before) == before, f"died at step {step}"
        both_work()
        assert worker.poll() is None, f"ended by {worker.poll()} after step {step}"
        step += 1
    assert step > 100
    assert worker.poll() is None


def test_graft_fits_behind_the_vdso() -> None:
    """The dead bytes of this kernel's 32-bit vdso; elsewhere it would cost a page of the program's text."""
    from engine.kernel import memory, process

    pid = process.with_vdso32(0x10000000)
    try:
        vdso = next(v for v in proc.smaps(pid) if v.path == "[vdso]")
        code = memory.read(pid, vdso.start, vdso.end - vdso.start)
    finally:
        os.kill(pid, 9)
        process.wait_exit(pid)
    assert code.startswith(b"\x7fELF\1")
    assert len(code) - len(code.rstrip(b"\0")) >= Machine(built(), "x86_64").blob["graft_size"]


def test_graft_has_the_two_jumps_home() -> None:
    machine = Machine(built(), "x86_64")
    code = machine.executor[machine.blob["graft"] :][: machine.blob["graft_data"]]
    regs = bytearray(27 * 8)
    x86_64.put(regs, cs=0x23)
    far = x86_64.graft_of(regs, code)
    assert [i for i in range(len(code)) if code[i] != far[i]] == [
        machine.blob[name] + 8 for name in ("graft_tail", "graft_thread_tail")
    ]
    x86_64.put(regs, cs=0x33)
    assert x86_64.graft_of(regs, code) == code


def test_32_bit_calls_are_numbered_by_their_own_table() -> None:
    machine = Machine(built(), "x86_64")
    arena = Arena(machine, place([(0x10000000, 0x20000000)], 1 << 20, True))
    assert arena.low
    assert 0x20000000 <= arena.base < 1 << 32
    program = arena.program("test")
    program.sys_compat("set_robust_list", 0, 12)
    program.park()
    assert program.describe(0) == "32-bit set_robust_list(0, 12)"
    code, *_, number = struct.unpack_from("<4H", program.encode())
    assert (code, number) == (abi.OP_SYSCALL32, 311)


def test_same_images(peer_criu: Path, criu: Criu, c_program, start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    process = start(c_program(SOURCE, "-m32", "-Wno-unused-result", "-Wno-unused-parameter"))
    waiting(process)
    wait_until("it sleeps", lambda: proc.Stat(process.pid).state == "S")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    args = ("dump", "-R", "-t", str(process.pid), "-D")
    done = subprocess.run([peer_criu, *args, theirs, "-o", "dump.log", "-v4"])
    assert done.returncode == 0, (theirs / "dump.log").read_text()
    criu(*args, str(ours))
    assert not differing(ours, theirs, process.pid)
    core = Images.open(Schema(), str(ours)).read_one("CORE", process.pid)
    assert core.thread_info.gpregs.mode == x86_64.COMPAT
    assert all(action.compat_sigaction for action in core.tc.sigactions)
