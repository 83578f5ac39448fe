"""Objects of shared memory: what of them is in the images, what is made of it, and what is wrong with images."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.files import memfd
from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel import proc, shmem
from zdtm.tests.tasks import Criu, end_restored, wait

PAGE = 4096
HEAD = """
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>
enum { PAGE = 4096 };
static void until_sigterm(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	fflush(stdout);
	sigwait(&set, &sig);
}
"""
# 16 pages, of which the last ones are mapped no more; two children map it, too
FAMILY = (
    HEAD
    + """
int main(void)
{
	char *at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	at[0] = 1;
	memset(at + 5 * PAGE, 2, 2 * PAGE);
	at[15 * PAGE] = 3;
	munmap(at + 8 * PAGE, 8 * PAGE);
	if (!fork() || !fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	until_sigterm();
	return !(at[0] == 1 && at[5 * PAGE] == 2 && at[7 * PAGE - 1] == 2 && !at[PAGE]);
}
"""
)


@pytest.fixture
def family(criu: Criu, c_program, start, images: str):  # type: ignore[no-untyped-def]
    """Three processes that share memory, dumped and gone."""
    process = start(c_program(FAMILY))
    wait(lambda: process.log.read_bytes() == b"ready\n" and len(proc.children(process.pid)) == 2)
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    return process


@pytest.fixture
def opened(images: str) -> Iterator[Images]:
    found = Images.open(Schema(), images)
    yield found
    found.close()


def test_stored_once(family, opened: Images) -> None:  # type: ignore[no-untyped-def]
    """Contents are stored once, whoever maps them; holes are not; what nobody maps any more is, and so is the size."""
    (inode,) = opened.read("MEMFD_INODE")
    assert (inode.name, inode.size, inode.hugetlb_flag) == ("/dev/zero", 16 * PAGE, 0)
    assert [name for name in opened.names() if name.startswith("pagemap-shmem-")] == [
        f"pagemap-shmem-{inode.shmid}.img"
    ]
    head, entries = opened.read_pagemap("SHMEM_PAGEMAP", inode.shmid)
    assert [(e.vaddr // PAGE, e.nr_pages, e.flags) for e in entries] == [(0, 1, 4), (5, 2, 4), (15, 1, 4)]
    data = Path(opened.path, f"pages-{head.pages_id}.img").read_bytes()
    assert [data[i * PAGE] for i in range(4)] == [1, 2, 2, 3]
    tasks = opened.read("PSTREE")
    assert len(tasks) == 3
    ids = set()
    for task in tasks:
        (vma,) = (v for v in opened.read_one("MM", task.pid).vmas if v.status & memfd.MEMFD)
        assert (vma.end - vma.start, vma.pgoff, vma.flags, vma.fdflags) == (8 * PAGE, 0, mmap.MAP_SHARED, os.O_RDWR)
        assert vma.status == 1 | memfd.FILE_SHARED | memfd.MEMFD
        ids.add(vma.shmid)
    (entry,) = (e for e in opened.read("FILES") if e.type == memfd.TYPE)
    assert ids == {entry.id} and entry.memfd.inode_id == inode.inode_id
    stats = opened.read_one("STATS", "dump").dump if opened.exists("STATS", "dump") else None
    assert stats is None or (stats.shpages_scanned, stats.shpages_written) == (16, 4)


def test_restored(criu: Criu, family, images: str) -> None:  # type: ignore[no-untyped-def]
    """Nothing is allocated that was not there, and what nobody maps is there again."""
    criu("restore", "-d", "-S", "-D", images)
    vma = next(v for v in proc.smaps(family.pid) if v.path == "/dev/zero (deleted)")
    fd = os.open(f"/proc/{family.pid}/map_files/{vma.start:x}-{vma.end:x}", os.O_RDONLY)
    try:
        assert (os.fstat(fd).st_size, os.fstat(fd).st_blocks) == (16 * PAGE, 4 * PAGE // 512)
        assert os.pread(fd, 2, 15 * PAGE) == b"\3\0"
    finally:
        os.close(fd)
    assert {proc.Stat(pid).ppid for pid in proc.children(family.pid)} == {family.pid}
    end_restored(family.pid)


def test_as_older_versions_describe_it(criu: Criu, family, images: str, opened: Images) -> None:  # type: ignore[no-untyped-def]
    """By mappings alone: it is as large as what is mapped of it."""
    (inode,) = opened.read("MEMFD_INODE")
    head, entries = opened.read_pagemap("SHMEM_PAGEMAP", inode.shmid)
    data = Path(images, f"pages-{head.pages_id}.img")
    data.write_bytes(data.read_bytes()[: 3 * PAGE])
    opened.write_pagemap("SHMEM_PAGEMAP", inode.shmid, head, entries[:2])
    opened.write("FILES", (), [e for e in opened.read("FILES") if e.type != memfd.TYPE])
    for task in opened.read("PSTREE"):
        mm = opened.read_one("MM", task.pid)
        (vma,) = (v for v in mm.vmas if v.status & memfd.MEMFD)
        vma.status, vma.shmid, vma.flags = 1 | memfd.ANON_SHARED, inode.shmid, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
        vma.ClearField("fdflags")
        opened.write("MM", (task.pid,), [mm])
    os.unlink(Path(images, "memfd.img"))
    criu("restore", "-d", "-S", "-D", images)
    found = set()
    for pid in (family.pid, *proc.children(family.pid)):
        vma = next(v for v in proc.smaps(pid) if v.path == "/dev/zero (deleted)")
        st = os.stat(f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}")
        found.add((st.st_ino, st.st_size))
    assert len(found) == 1 and {size for _, size in found} == {8 * PAGE}
    end_restored(family.pid)


def _spoil(opened: Images, how: str) -> str:
    """Damage the images; returns what the error has to say."""
    (inode,) = opened.read("MEMFD_INODE")
    pagemap = opened.name("SHMEM_PAGEMAP", inode.shmid)
    head, entries = opened.read_pagemap("SHMEM_PAGEMAP", inode.shmid)
    pages = f"pages-{head.pages_id}.img"
    if how == "pagemap missing":
        os.unlink(Path(opened.path, pagemap))
        return f"{pagemap}: offset 0: missing"
    if how == "pagemap truncated":
        path = Path(opened.path, pagemap)
        path.write_bytes(path.read_bytes()[:-3])
        return f"{pagemap}: "
    if how == "pages missing":
        os.unlink(Path(opened.path, pages))
        return f"{pages}: offset 0: missing"
    if how == "pages truncated":
        os.truncate(Path(opened.path, pages), PAGE)
        return f"{pages}: offset 4096: truncated"
    if how == "inode missing":
        opened.write("MEMFD_INODE", (), [])
        return "memfd.img: offset 0: inode 1 is missing"
    if how == "size":
        inode.size = 15 * PAGE
        opened.write("MEMFD_INODE", (), [inode])
        return f"{pagemap}: offset 0: pages up to 0x10000, but the object has 61440 bytes"
    if how == "order":
        opened.write_pagemap("SHMEM_PAGEMAP", inode.shmid, head, [entries[1], entries[0], entries[2]])
        return f"{pagemap}: offset 0: pages from 0x0 on are not in ascending order"
    assert how == "parent"
    entries[0].flags = 1
    opened.write_pagemap("SHMEM_PAGEMAP", inode.shmid, head, entries)
    os.truncate(Path(opened.path, pages), 3 * PAGE)
    return f"{pagemap}: pages in a parent image (incremental dumps) are not supported yet"


SPOILT = ["pagemap missing", "pagemap truncated", "pages missing", "pages truncated", "inode missing"]


@pytest.mark.parametrize("how", [*SPOILT, "size", "order", "parent"])
def test_bad_images(criu: Criu, family, images: str, opened: Images, how: str) -> None:  # type: ignore[no-untyped-def]
    """One error that names the image, before anything is made."""
    what = _spoil(opened, how)
    done = criu("restore", "-d", "-D", images, check=False)
    errors = [line for line in done.stderr.splitlines() if "Error" in line]
    assert done.returncode and what in errors[0], done.stderr
    assert not os.path.exists(f"/proc/{family.pid}")


def test_plan_makes_nothing(criu: Criu, family, images: str) -> None:  # type: ignore[no-untyped-def]
    assert "# shared anonymous memory" in criu("restore", "--plan", "-D", images).stdout


def test_system_v_is_refused(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    source = HEAD + (
        "int main(void) { int id = shmget(IPC_PRIVATE, PAGE, 0600); void *at = shmat(id, NULL, 0);\n"
        "shmctl(id, IPC_RMID, NULL); until_sigterm(); return !at; }\n"
    )
    process = start(c_program(source))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    done = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    assert done.returncode
    assert "System V shared memory of the engine's own IPC namespace: start the tree in one of its own" in done.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


# What is behind the end of a file but in its last page is in no read(2); both kinds of mappings of a sealed one.
EDGES = (
    HEAD
    + """
int main(void)
{
	int fd = memfd_create("edges", MFD_ALLOW_SEALING), other = memfd_create("tiny", 0);
	char *writer, *sealed, *tiny;

	if (ftruncate(fd, 2 * PAGE + 5) || ftruncate(other, 1))
		return 2;
	writer = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	tiny = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
	sealed = mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	writer[PAGE] = 1;
	writer[2 * PAGE + 4] = 2;
	writer[2 * PAGE + 6] = 3;
	tiny[0] = 4;
	tiny[PAGE - 1] = 5;
	until_sigterm();
	if (writer[PAGE] != 1 || sealed[2 * PAGE + 4] != 2 || writer[2 * PAGE + 6] != 3)
		return 3;
	if (tiny[0] != 4 || tiny[PAGE - 1] != 5 || lseek(fd, 0, SEEK_END) != 2 * PAGE + 5)
		return 4;
	writer[0] = 6;
	if (sealed[0] != 6 || !mprotect(sealed, PAGE, PROT_READ | PROT_WRITE))
		return 5;
	if (mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		return 6;
	return fcntl(fd, F_GET_SEALS) != F_SEAL_FUTURE_WRITE;
}
"""
)


def test_edges(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    process = start(c_program(EDGES))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    criu("restore", "-d", "-S", "-D", images)
    end_restored(process.pid)


@pytest.mark.parametrize(("size", "step"), [(256 << 20, 1), (512 << 20, 2)], ids=["dense", "fragmented"])
def test_memory_is_bounded(c_program, start, images: str, size: int, step: int) -> None:  # type: ignore[no-untyped-def]
    """The engine takes little more for much than for nothing, in one piece or in 65,536."""
    source = HEAD + (
        f"int main(void) {{ char *at = mmap(NULL, {size}, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n"
        f"for (long i = 0; i < {size}; i += {step} * 4096L) memset(at + i, 7, 4096);\n"
        f"until_sigterm(); return at[{size} - {step} * 4096L] != 7; }}\n"
    )
    process = start(c_program(source))
    wait(lambda: process.log.read_bytes() == b"ready\n", 20)
    args = ("-D", images)
    assert _peak("dump", "-t", str(process.pid), *args) < 64 << 10
    process.wait()
    assert _peak("restore", "-d", "-S", *args) < 64 << 10
    end_restored(process.pid)


# What getrusage(2) tells of a child counts what its parent had before exec(2).
PEAK = """
import sys
from engine.cli import main
status = main()
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print("peak", peak)
sys.exit(status)
"""


def _peak(*args: str) -> int:
    """Run the engine, which has to succeed; its greatest resident size in KiB."""
    done = subprocess.run([sys.executable, "-c", PEAK, *args], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split("peak ")[1])


# The native half


@pytest.fixture
def object_fd() -> Iterator[int]:
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


@pytest.mark.parametrize("size", [0, 1, PAGE, 10 * PAGE + 1])
def test_made_anonymous(size: int) -> None:
    fd = shmem.make(size, 0, 0)
    try:
        assert os.readlink(f"/proc/self/fd/{fd}") == "/dev/zero (deleted)"
        st = os.fstat(fd)
        assert (st.st_size, st.st_blocks) == (size, 0)
        assert memfd.find("/dev/zero (deleted)", st) == 0
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    finally:
        os.close(fd)
    assert all(v.path != "/dev/zero (deleted)" for v in proc.smaps(os.getpid()))


def test_runs_and_holes(object_fd: int, tmp_path: Path) -> None:
    """Thousands of runs there and back; nothing becomes of a hole."""
    count = 3000
    os.truncate(object_fd, 2 * count * PAGE)
    for i in range(count):
        os.pwrite(object_fd, b"%d" % i, (2 * i + 1) * PAGE)
    size = 2 * count * PAGE
    found = shmem.runs(object_fd, size, 0)
    parts = [(start, pages) for start, pages, _ in found]
    assert parts == [((2 * i + 1) * PAGE, 1) for i in range(count)]
    out = os.open(tmp_path / "pages", os.O_RDWR | os.O_CREAT)
    other = os.memfd_create("other")
    try:
        shmem.dump(object_fd, size, 0, out, found, "a test")
        assert os.fstat(out).st_size == count * PAGE
        os.truncate(other, size)
        shmem.load(other, size, 0, out, 0, parts, "a test")
        assert os.fstat(other).st_blocks == os.fstat(object_fd).st_blocks
        for i in range(count):
            assert os.pread(other, 5, (2 * i + 1) * PAGE).rstrip(b"\0") == b"%d" % i
    finally:
        os.close(out)
        os.close(other)


def test_a_deleted_file_is_none(tmp_path: Path) -> None:
    """Only the device tells: a file may be called like a memfd."""
    with open(tmp_path / "file", "wb") as f:
        assert memfd.find("/memfd:file (deleted)", os.fstat(f.fileno())) is None
