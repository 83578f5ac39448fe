"""The vdso of another kernel: in place or proxied, dumped again, and what the peer makes of it, both ways.

$CRIU_FAULT = 127 makes either engine use a proxy although the kernel is the same.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.context import Schema
from engine.errors import EngineError
from engine.images.files import Images
from engine.kernel import proc
from engine.memory import elf, vdso
from engine.tasks.images import TaskImages
from zdtm.build import build_case
from zdtm.flavours import FLAVOURS
from zdtm.places import places
from zdtm.tests.tasks import PROGRAMS, Criu, end_restored, wait
from zdtm.tree import Tree
from zdtm.waiting import adopting_orphans

ZDTM = Path(__file__).parents[1]
NAMES = ("[vdso]", "[vvar]", "[vvar_vclock]")
FORCED = {"CRIU_FAULT": "127"}


def run(criu: Path, *args: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run([criu, *args], capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done.stderr


def special(pid: int) -> list[proc.Vma]:
    return [v for v in proc.smaps(pid) if v.path in NAMES]


def is_proxied(pid: int) -> bool:
    return vdso.find_proxied(pid, proc.smaps(pid)) is not None


def dump(criu: Path, pid: int, directory: Path) -> Path:
    """Dump, and wait until the pid can be had again."""
    directory.mkdir()
    run(criu, "dump", "-t", str(pid), "-D", str(directory), "-o", "dump.log")
    os.waitpid(pid, 0)
    return directory


def restore(criu: Path, directory: Path, env: dict[str, str] | None = None) -> None:
    """As a child of ours."""
    run(criu, "restore", "-d", "-S", "-D", str(directory), "-o", "restore.log", env=env)


@pytest.fixture
def old_kernel(c_program, start) -> Callable[..., Any]:  # type: ignore[no-untyped-def]
    """Starts programs/oldvdso.c: `old_kernel(mapping to remove...)`."""

    def make(*removed: str, align: int = 64, hashes: str = "both", base: str = "0") -> Any:
        flags = ["-shared", "-fPIC", "-nostdlib", f"-DALIGN={align}"]
        flags.append(f"-Wl,-T,{PROGRAMS / 'vdso.lds'},--defsym=base={base},--hash-style={hashes},--build-id=none")
        library = c_program(PROGRAMS / "wrongvdso.c", *flags)
        at = elf.functions(library.read_bytes())
        names = ("clock_gettime", "gettimeofday", "time", "getcpu", "own")
        where = [f"{at[f'__vdso_{name}']:x}" for name in names]
        process = start(c_program(PROGRAMS / "oldvdso.c"), str(library), *where, *removed)
        wait(lambda: process.log.read_bytes() == b"ready\n" or process.poll() is not None)
        assert process.poll() is None, process.log.read_text()
        return process

    return make


@pytest.mark.parametrize(("hashes", "base"), [("both", "0"), ("gnu", "0"), ("sysv", "0xffffffffff700000")])
def test_another_kernels_vdso(old_kernel, engine_criu: Path, tmp_path: Path, hashes: str, base: str) -> None:  # type: ignore[no-untyped-def]
    pid = old_kernel(hashes=hashes, base=base).pid
    before = special(pid)
    restore(engine_criu, dump(engine_criu, pid, tmp_path / "images"))
    after = special(pid)
    assert [(v.path, v.end - v.start, v.prot) for v in after] == [(v.path, v.end - v.start, v.prot) for v in before]
    assert not {v.start for v in after} & {v.start for v in before}
    kept = {(v.start, v.prot) for v in proc.smaps(pid) if not v.path}
    assert {(before[0].start, 1), (before[-1].start, 5)} <= kept
    end_restored(pid)


def test_vvar_of_another_size(old_kernel, engine_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """As before Linux 6.13, when there was no vvar_vclock."""
    if not any(v.path == "[vvar_vclock]" for v in special(os.getpid())):
        pytest.skip("this kernel has no [vvar_vclock]")
    pid = old_kernel("[vvar_vclock]").pid
    restore(engine_criu, dump(engine_criu, pid, tmp_path / "images"))
    assert is_proxied(pid)
    assert len(special(pid)) == 3
    end_restored(pid)


def test_function_without_room_is_named(old_kernel, engine_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    images = dump(engine_criu, old_kernel(align=1).pid, tmp_path / "images")
    said = run(engine_criu, "restore", "-d", "-D", str(images), check=False)
    assert "__vdso_getcpu (6 bytes) is too short" in said


def test_none(old_kernel, engine_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pid = old_kernel(*(v.path for v in special(os.getpid()))).pid
    restore(engine_criu, dump(engine_criu, pid, tmp_path / "images"))
    assert not special(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("last", [FORCED, {}], ids=["proxied", "in-place"])
def test_proxied_task_is_dumped_again(old_kernel, engine_criu: Path, tmp_path: Path, last: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    """Its own vdso is another kernel's: however often it is dumped, it needs a proxy, and only one."""
    pid = old_kernel().pid
    was = proc.ranges(pid)
    for i, env in enumerate(({}, FORCED, {}, last)):
        restore(engine_criu, dump(engine_criu, pid, tmp_path / f"images-{i}"), env)
        assert is_proxied(pid)
        assert len(special(pid)) == 3
    new = [r for r in proc.ranges(pid) if not any(a <= r[0] < b for a, b in was)]
    assert len(new) == 3
    end_restored(pid)


def test_peer_restores_a_proxied_task(old_kernel, engine_criu: Path, peer_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pid = old_kernel().pid
    restore(engine_criu, dump(engine_criu, pid, tmp_path / "first"))
    restore(peer_criu, dump(engine_criu, pid, tmp_path / "second"))
    assert is_proxied(pid)
    end_restored(pid)


def test_peer_dumps_a_proxied_task(old_kernel, engine_criu: Path, peer_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It recognises the mark, and we its images."""
    pid = old_kernel().pid
    restore(engine_criu, dump(engine_criu, pid, tmp_path / "first"))
    restore(engine_criu, dump(peer_criu, pid, tmp_path / "second"))
    assert is_proxied(pid)
    assert len(special(pid)) == 3
    end_restored(pid)


@pytest.mark.parametrize("name", ["vdso01", "vdso-proxy"])
def test_forced_and_back(name: str, engine_criu: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every function through a proxy, then in place again."""
    cache = places(request.config.rootpath).programs
    for rounds in ((FORCED,), (FORCED, FORCED), (FORCED, {})):
        directory = tmp_path / f"{len(rounds)}{len(rounds[-1])}"
        directory.mkdir()
        tree = Tree(directory, FLAVOURS["host"], True)
        with adopting_orphans():
            tree.start(build_case(cache, ZDTM / "static" / f"{name}.c"), (), cache, 20)
            before = special(tree.root_pid)
            for i, env in enumerate(rounds):
                restore(engine_criu, dump(engine_criu, tree.root_pid, directory / f"images-{i}"), env)
                assert is_proxied(tree.root_pid) == bool(env)
            if not rounds[-1]:
                assert [str(v) for v in special(tree.root_pid)] == [str(v) for v in before]
            tree.finish(20)


def task_images(images: Path, pid: int) -> tuple[TaskImages, Images]:
    store = Images.open(Schema(), str(images))
    return TaskImages(store, store.read("PSTREE")[0]), store


def prepare(images: Path, pid: int, offset: int) -> int:
    """What becomes of a thread's instruction pointer at an offset in the vdso; returned as an offset too."""
    task, store = task_images(images, pid)
    start = next(v.start for v in task.mm.vmas if v.status & vdso.VDSO)
    task.core.thread_info.gpregs.ip = start + offset
    vdso.prepare(task, store, {pid: task.core}, vdso.Kernels())
    return int(task.core.thread_info.gpregs.ip - start)


def test_thread_inside(criu: Criu, dumped, images: str, engine_criu: Path, tmp_path: Path, monkeypatch: Any) -> None:  # type: ignore[no-untyped-def]
    """Its instruction may not be there any more: it is where it can go on, or the restore says where it was."""
    pid = dumped.pid
    own = next(v for v in special(os.getpid()) if v.path == "[vdso]")
    code = ctypes.string_at(own.start, own.end - own.start)
    at = elf.functions(code)["__vdso_clock_gettime"]
    call = code.index(b"\x0f\x05")
    assert prepare(Path(images), pid, at + 7) == at + 7  # the same code: wherever
    for name, value in FORCED.items():
        monkeypatch.setenv(name, value)
    assert prepare(Path(images), pid, at) == at
    assert prepare(Path(images), pid, call) == call
    assert prepare(Path(images), pid, call + 2) == call + 2
    for inside in (at + 4, at + 64):
        with pytest.raises(EngineError, match="was dumped inside of its vdso"):
            prepare(Path(images), pid, inside)
    restore(engine_criu, Path(images))
    again = dump(engine_criu, pid, tmp_path / "again")
    assert prepare(again, pid, at + 10) == at  # between the two instructions of the jump
    monkeypatch.delenv("CRIU_FAULT")
    assert prepare(again, pid, at + 10) == at
    assert prepare(again, pid, at + 64) == at + 64  # jumps are all that differs from this kernel's
    task, store = task_images(again, pid)
    assert vdso.prepare(task, store, {pid: task.core}, vdso.Kernels()) is None


def test_threads_leave_the_vdso(c_program, start, engine_criu: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Most of this task's time is spent there; its images never say so."""
    source = "#include <time.h>\nint main(void) { struct timespec t; for (;;) clock_gettime(CLOCK_MONOTONIC, &t); }"
    pid = start(c_program(source)).pid
    time.sleep(0.05)
    where = next(v for v in special(pid) if v.path == "[vdso]")
    for i in range(10):
        directory = tmp_path / f"images-{i}"
        directory.mkdir()
        run(engine_criu, "dump", "-R", "-t", str(pid), "-D", str(directory))
        task, _ = task_images(directory, pid)
        assert not where.start <= task.core.thread_info.gpregs.ip < where.end
    os.waitpid(pid, os.WNOHANG)
    assert proc.Stat(pid).state == "R"


def test_functions_that_this_kernel_lacks() -> None:
    """They make the system call."""
    names = ("clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres", "getrandom", "sgx_enter_enclave")
    theirs = {f"__vdso_{name}": (i + 1) * 64 for i, name in enumerate(names)}
    room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    base = ctypes.addressof(ctypes.c_char.from_buffer(room))
    patches = vdso._patches(1, theirs, {}, base, 4096, 0)
    assert [at - base for at, _ in patches] == [64, 128, 192, 256, 320, 384]
    for at, code in patches:
        ctypes.memmove(at, code, len(code))
    made = SimpleNamespace(**{n: ctypes.CFUNCTYPE(ctypes.c_long)(base + theirs[f"__vdso_{n}"]) for n in names})
    pair = (ctypes.c_long * 2)()
    void = ctypes.c_void_p
    assert made.clock_gettime(ctypes.c_long(1), pair) == 0
    assert 0 <= time.monotonic() - pair[0] < 2
    assert made.gettimeofday(pair, void()) == 0
    assert 0 <= time.time() - pair[0] < 2
    assert 0 <= time.time() - made.time(void()) < 2
    assert made.getcpu(pair, void(), void()) == 0
    assert made.clock_getres(ctypes.c_long(1), pair) == 0
    assert pair[1] == int(time.get_clock_info("monotonic").resolution * 1e9)
    data = ctypes.create_string_buffer(32)
    size, state = ctypes.c_size_t, void()
    assert made.getrandom(data, size(32), ctypes.c_long(0), state, size(0)) == 32
    assert data.raw != bytes(32)
    assert made.getrandom(state, size(0), ctypes.c_long(0), data, size(2**64 - 1)) == -38  # ENOSYS: no state to have


def test_elf_that_is_none() -> None:
    own = next(v for v in special(os.getpid()) if v.path == "[vdso]")
    code = ctypes.string_at(own.start, own.end - own.start)
    assert "__vdso_clock_gettime" in elf.functions(code)
    for bad in (b"", bytes(8192), code[:0x200], b"\x7fELF\x02\x01" + bytes(8000), code[:32] + b"\xff" * 8 + code[40:]):
        with pytest.raises(ValueError, match="ELF"):
            elf.functions(bad)
