"""Mappings: what is refused by name, what images of them may not say, and what no case in C can show."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.context import Schema
from engine.errors import BadImage, EngineError
from engine.images.files import Images
from engine.images.pagemap import RUN, Pagemap
from engine.kernel import proc
from engine.memory import aio, guard, hugetlb, vmas
from engine.plan.program import place
from zdtm.tests.tasks import Criu, end_restored, finish, wait

PAGE = 4096
AREA = "7f0000000000-7f0000001000"
PROGRAM = r"""
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

static void *rest(void *unused)
{
	pause();
	return unused;
}

static int set_up(void)
{
	BODY
}

int main(void)
{
	sigset_t term, before;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	signal(SIGTERM, finish);
	printf(set_up() ? "cannot: %m\n" : "ready\n");
	fflush(stdout);
	while (!done)
		sigsuspend(&before);
	return CHECK;
}
"""
Start = Callable[..., Any]


@pytest.fixture
def task(c_program: Callable[..., Path], start: Start) -> Start:
    """`task(body, check)`: a process that `body` has set up; at its end it returns the value of `check`."""

    def run(body: str, check: str = "0", cannot: bool = False) -> Any:
        source = PROGRAM.replace("BODY", body).replace("CHECK", check)
        process = start(c_program(source, "-pthread", "-Wno-unused-result", "-Wno-unused-function"))
        wait(lambda: process.log.read_bytes().endswith(b"\n"))
        if cannot and (why := process.log.read_text()).startswith("cannot"):
            pytest.skip(why)
        assert process.log.read_text() == "ready\n"
        return process

    return run


# Refused by name, and the process runs on

REFUSED = {
    "packet ring": (
        """struct tpacket_req ring = {4096, 2, 2048, 4};
        int fd = socket(AF_PACKET, SOCK_RAW, 0);
        return setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)) ||
               mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED || close(fd);""",
        "a socket's memory (a packet ring, or TCP zero-copy) is not supported yet",
    ),
    "io_uring": (
        """struct io_uring_params p = {0};
        int fd = syscall(SYS_io_uring_setup, 4, &p);
        return mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, IORING_OFF_SQ_RING) == MAP_FAILED || close(fd);""",
        "memory of an io_uring whose descriptor the task has closed is not supported yet",
    ),
    "userfaultfd": (
        """int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
        struct uffdio_api api = {.api = UFFD_API};
        void *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register range = {{(unsigned long)area, 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
        return ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range);""",
        "registered with userfaultfd, and not private anonymous: not supported yet",
    ),
    "perf": (
        """struct perf_event_attr event = {
                .type = PERF_TYPE_SOFTWARE, .size = sizeof(event), .config = PERF_COUNT_SW_DUMMY};
        int fd = syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
        return mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED || close(fd);""",
        "memory of an anonymous inode is not supported yet",
    ),
    "block device": (
        """int fd = open("/dev/loop0", O_RDONLY);
        return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED || close(fd);""",
        "memory of the block device 7:0 cannot be dumped; unmap it first",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name(what: str, task: Start, criu: Criu, images: str) -> None:
    body, why = REFUSED[what]
    process = task(body, cannot=True)
    refused = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    assert refused.returncode == 1
    assert "preflight" in refused.stderr and why in refused.stderr
    finish(process)


def test_locked_future_without_room(task: Start, criu: Criu, images: str) -> None:
    """What the parasite maps would be locked too: the kernel refuses, and the process runs on."""
    process = task("""struct rlimit page = {4096, 4096};
        return setrlimit(RLIMIT_MEMLOCK, &page) || setresuid(65534, 65534, 65534) || mlockall(MCL_FUTURE);""")
    before = proc.ranges(process.pid)
    refused = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    assert refused.returncode == 1
    assert "its new mappings are locked, for which RLIMIT_MEMLOCK leaves no room: raise it" in refused.stderr
    assert proc.ranges(process.pid) == before
    finish(process)


def _vma(flags: str, prot: str = "rw-p", path: str = "") -> proc.Vma:
    return proc.Vma(f"{AREA} {prot} 00000000 00:00 0 {path}", flags)


def test_protection_keys() -> None:
    """This and that are from smaps; the key of what may only be executed is the kernel's own."""
    assert vmas.blockers([_vma("rd wr mr mw me ac")]) == []
    assert vmas.blockers([_vma("ex mr mw me pkey=1", "--xp")]) == []
    (why,) = vmas.blockers([_vma("rd wr mr mw me ac pkey=3")])
    assert why == f"mapping {AREA} rw-p anonymous: has protection key 3 (pkeys(7)): not supported yet"


def test_unknown_flags() -> None:
    (why,) = vmas.blockers([_vma("rd wr zz qq")])
    assert why == f"mapping {AREA} rw-p anonymous: unknown VmFlags zz qq"
    (why,) = vmas.blockers([_vma("rd wr ss")])
    assert why.endswith("a shadow stack: not supported yet")


def test_smaps_of_huge_pages_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    head = f"{AREA} rw-p 00000000 00:11 5 /anon_hugepage (deleted)\n"
    text = "".join(
        f"{head}Size: 4 kB\nKernelPageSize:     2048 kB\nMMUPageSize: 4 kB\n{key}VmFlags: rd wr {flags} \n"
        for key, flags in (("ProtectionKey:         0\n", "ht"), ("ProtectionKey:        12\n", ""))
    )
    monkeypatch.setattr(proc, "read_text", lambda path: text)
    huge, keyed = proc.smaps(1)
    assert (huge.page, huge.flags) == (2 << 20, ["rd", "wr", "ht"])
    assert (keyed.page, keyed.flags) == (PAGE, ["rd", "wr", "pkey=12"])


def test_more_mappings_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vmas.check_count(999) == ""
    monkeypatch.setattr(proc, "read_text", lambda path: "2000\n")
    assert vmas.check_count(1996) == ""
    assert vmas.check_count(1997).endswith("echo 2001 > /proc/sys/vm/max_map_count")


def test_arena_in_a_crowded_space() -> None:
    usual = (1 << 32, 0x5000_0000_0000)
    assert usual[0] <= place([], 1 << 20, False) < usual[1]
    at = place([usual], 1 << 20, False)
    assert usual[0] > at + (1 << 20) or at > usual[1]
    with pytest.raises(MemoryError):
        place([(PAGE, 0x7FFF_FFFF_F000)], 1 << 20, False)


# Huge pages


def _pool(tmp_path: Path, **numbers: int) -> str:
    (tmp_path / "2048").mkdir()
    for name in ("free", "resv", "surplus", "nr_overcommit", "nr"):
        (tmp_path / "2048" / f"{name}_hugepages").write_text(f"{numbers.get(name, 0)}\n")
    return str(tmp_path / "{}")


def _huge_task(vm: int, count: int, more: int = 0, pagemap: tuple[tuple[int, int], ...] = ()) -> Any:
    new = Schema().message
    mm = new("mm_entry")()
    size = count << 21
    mm.vmas.add(start=size, end=2 * size, pgoff=0, shmid=0, prot=3, flags=0x54040022 | more, status=0x201, fd=-1)
    stored = Pagemap(bytearray(b"".join(RUN.pack(at, pages, 4) for at, pages in pagemap)))
    return SimpleNamespace(mm=mm, pagemap=stored, ids=SimpleNamespace(vm_id=vm))


def test_huge_pages_are_counted_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugetlb, "_POOL", _pool(tmp_path, free=6, resv=1, nr=8, nr_overcommit=1))
    hugetlb.check([_huge_task(1, 2), _huge_task(2, 4)])
    hugetlb.check([_huge_task(1, 6), _huge_task(1, 6)])  # the same address space
    with pytest.raises(EngineError) as caught:
        hugetlb.check([_huge_task(1, 3), _huge_task(2, 4)])
    assert str(caught.value).startswith("not enough huge pages of 2048 kB: 7 are needed, 5 are free; echo 10 > ")


def test_huge_pages_without_reservation_are_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugetlb, "_POOL", _pool(tmp_path, free=2))
    start = 8 << 21
    hugetlb.check([_huge_task(1, 8, 0x4000, ((start, 256), (start + (1 << 20), 256), (start + (3 << 21), 1)))])
    with pytest.raises(EngineError, match="3 are needed, 2 are free"):
        hugetlb.check([_huge_task(1, 8, 0x4000, ((start, 1024), (start + (3 << 21), 1)))])


def test_huge_pages_of_a_size_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugetlb, "_POOL", str(tmp_path / "{}"))
    with pytest.raises(EngineError, match="no huge pages of 2048 kB; 3 are needed"):
        hugetlb.check([_huge_task(1, 3)])


# Guard pages


def _mm(*ranges: tuple[int, int, int]) -> Any:
    mm = Schema().message("mm_entry")()
    for start, end, status in ranges:
        mm.vmas.add(start=start * PAGE, end=end * PAGE, pgoff=0, shmid=0, prot=0, flags=0, status=status, fd=-1)
    return mm


def test_guards_by_mapping() -> None:
    plain = 0x201
    mm = _mm((1, 4, plain), (4, 8, plain), (20, 30, plain), (3, 6, guard.STATUS), (29, 30, guard.STATUS))
    found = {
        start // PAGE: [(a // PAGE, b // PAGE) for a, b in where] for start, where in guard.by_mapping(mm, "").items()
    }
    assert found == {1: [(3, 4)], 4: [(4, 6)], 20: [(29, 30)]}
    assert guard.by_mapping(_mm((1, 4, plain)), "") == {}


@pytest.mark.parametrize("where", [(9, 10), (7, 9), (0, 2), (31, 33)])
def test_guards_outside_of_all_mappings(where: tuple[int, int]) -> None:
    mm = _mm((1, 8, 0x201), (20, 30, 0x201), (*where, guard.STATUS))
    with pytest.raises(BadImage, match="lie in no mapping"):
        guard.by_mapping(mm, "mm-1.img")


# AIO rings


def _header(nr: int = 127, head: int = 5, tail: int = 3, magic: int = 0xA10A10A1, length: int = 32) -> bytes:
    return struct.pack("<8I", 0, nr, head, tail, magic, 1, 0, length)


def test_ring() -> None:
    ring = aio.Ring(0x1000, PAGE, _header())
    assert (ring.nr, ring.head, ring.tail, ring.requests) == (127, 5, 3, 62)


@pytest.mark.parametrize(
    "raw",
    [_header(nr=128), _header(head=127), _header(tail=500), _header(magic=1), _header(length=64)],
    ids=["size", "head", "tail", "magic", "length"],
)
def test_ring_that_makes_no_sense(raw: bytes) -> None:
    with pytest.raises(ValueError, match="events"):
        aio.Ring(0x1000, PAGE, raw)


@pytest.fixture
def with_ring(task: Start, criu: Criu, images: str) -> int:
    """The pid of a process with an AIO ring, dumped."""
    process = task("aio_context_t context = 0;\n\treturn syscall(SYS_io_setup, 1, &context);")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    return int(process.pid)


def _edit(images: str, kind: str, ident: int, change: Callable[[Any], None]) -> None:
    at = Images.open(Schema(), images)
    entry = at.read_one(kind, ident)
    change(entry)
    (Path(images) / at.name(kind, ident)).unlink()
    at.write(kind, (ident,), [entry])
    at.close()


def test_images_of_a_damaged_ring(with_ring: int, criu: Criu, images: str) -> None:
    pages = Path(images) / "pages-1.img"
    raw = pages.read_bytes()
    at = raw.index(struct.pack("<I", 0xA10A10A1)) - 16
    pages.write_bytes(raw[: at + 8] + struct.pack("<I", 1 << 20) + raw[at + 12 :])
    refused = criu("restore", "-d", "-D", images, check=False)
    assert refused.returncode == 1
    assert "pages-1.img" in refused.stderr and "the AIO ring at" in refused.stderr
    assert not os.path.exists(f"/proc/{with_ring}")


def test_images_of_a_ring_without_context(with_ring: int, criu: Criu, images: str) -> None:
    def change(mm: Any) -> None:
        mm.aios[0].id += PAGE

    _edit(images, "MM", with_ring, change)
    refused = criu("restore", "-d", "-D", images, check=False)
    assert refused.returncode == 1
    assert "its AIO rings are not those among its mappings" in refused.stderr


# What changes nothing but what is told, and what a task's threads have to do with writable code


def test_names_of_anonymous_memory(dumped: Any, criu: Criu, images: str) -> None:
    """Not every kernel keeps any: the plan is what shows them."""

    def change(mm: Any) -> None:
        next(v for v in mm.vmas if v.status & vmas.ANON_PRIVATE and not v.status & vmas.VSYSCALL).name = "a name"

    _edit(images, "MM", dumped.pid, change)
    plan = criu("restore", "--plan", "-D", images).stdout
    assert "prctl(0x53564d41, 0, " in plan and '"a name")' in plan
    criu("restore", "-d", "-D", images)
    os.kill(dumped.pid, 15)


def test_name_of_a_mapping_is_dumped() -> None:
    mm = Schema().message("mm_entry")()
    vmas.dump(mm, [_vma("rd wr mr mw me ac", path="[anon:of mine]")], (0, 0), os.getpid(), None)  # type: ignore[arg-type]
    assert [v.name for v in mm.vmas] == ["of mine"]


def test_threads_that_refuse_writable_code(
    task: Start, criu: Criu, engine_criu: Path, images: str, tmp_path: Path
) -> None:
    """Every thread visits the arena, whose code is a mapping of its own then."""
    body = """pthread_t thread;
        for (int i = 0; i < 5; i++)
                if (pthread_create(&thread, NULL, rest, NULL))
                        return 1;
        return prctl(65, 1UL, 0, 0, 0);"""
    process = task(body, "prctl(66, 0, 0, 0, 0) != 1", cannot=True)
    before = proc.ranges(process.pid)
    criu("dump", "-t", str(process.pid), "-D", images, "--leave-running")
    assert proc.ranges(process.pid) == before
    (tmp_path / "again").mkdir()
    criu("dump", "-t", str(process.pid), "-D", str(tmp_path / "again"))
    process.wait()
    criu("restore", "-d", "-S", "-D", str(tmp_path / "again"))
    assert len(proc.threads(process.pid)) == 6
    end_restored(process.pid)
