"""stats-dump, stats-restore and --display-stats: the right values, with the names and units that CRIU prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from engine.context import Schema
from engine.images.files import Images
from engine.kernel import memory, proc
from engine.stats import DumpStats, RestoreStats
from zdtm.tests.tasks import Criu, wait

# A process with so many pages of its own, a child with a copy of them, and, if told so, one that shares them.
SOURCE = """
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char stack[65536];

static int sleeper(void *arg)
{
	for (;;)
		pause();
	return arg != NULL;
}

int main(int argc, char **argv)
{
	size_t size = strtoul(argv[1], NULL, 10) * 4096;

	memset(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 7, size);
	if (argc > 2 && clone(sleeper, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL) < 0)
		return 1;
	if (!fork())
		sleeper(NULL);
	puts("ready");
	fflush(stdout);
	sleeper(NULL);
}
"""
PAGES = 1000


@pytest.fixture
def tree(c_program, start):  # type: ignore[no-untyped-def]
    """`tree("share")`, or without a task that shares another's memory."""

    def run(*args: str) -> subprocess.Popen[bytes]:
        process = start(c_program(SOURCE), str(PAGES), *args)
        wait(lambda: process.log.read_bytes() == b"ready\n")
        return process  # type: ignore[no-any-return]

    return run


def shown(text: str) -> dict[str, int]:
    """What --display-stats prints, by name: the head line is first, and every line has the form it has in CRIU."""
    head, *lines = text.splitlines()
    out: dict[str, int] = {}
    for line in lines:
        found = re.fullmatch(r"(.+): (\d+) (us|\(0x([0-9a-f]+)\))", line)
        assert found, line
        assert found[3] == "us" or int(found[4], 16) == int(found[2])
        out[f"{head} {found[1]} {found[3] == 'us'}"] = int(found[2])
    return out


def stats(folder: str, kind: str) -> Any:
    return getattr(Images.open(Schema(), folder).read_one("STATS", kind), kind)


def stored(folder: str) -> int:
    """Pages in all pages images."""
    return sum(p.stat().st_size for p in Path(folder).glob("pages-*.img")) // 4096


def end(pid: int) -> None:
    """All of the tree, which is one session's only process group; the root is our child. Their pids are free again."""
    pids = [pid, *proc.children(pid)]
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait(lambda: not any(Path(f"/proc/{p}").exists() for p in pids))


def test_values(criu: Criu, tree, images: str) -> None:  # type: ignore[no-untyped-def]
    process = tree("share")
    vdso = sum(v.end - v.start for v in proc.smaps(process.pid) if v.path == "[vdso]") // memory.PAGE
    begin = time.monotonic_ns()
    out = criu("dump", "-t", str(process.pid), "-D", images, "--display-stats").stdout
    wall = (time.monotonic_ns() - begin) // 1000
    process.wait()
    d = stats(images, "dump")
    assert d.pages_written == stored(images) and 2 * PAGES < d.pages_written < 3 * PAGES
    assert d.pages_written < d.pages_scanned
    assert 0 < d.memwrite_time < d.memdump_time < d.frozen_time < wall and 0 < d.freezing_time < wall
    zero = ("pages_skipped_parent", "pages_lazy", "irmap_resolve", "page_pipes", "page_pipe_bufs")
    for name in (*zero, "shpages_scanned", "shpages_skipped_parent", "shpages_written"):
        assert d.HasField(name) and getattr(d, name) == 0
    head = "Displaying dump stats: Memory pages"
    printed = shown(out)
    assert (printed[f"{head} scanned False"], printed[f"{head} written False"]) == (d.pages_scanned, d.pages_written)
    begin = time.monotonic_ns()
    out = criu("restore", "-d", "-S", "-D", images, "--display-stats").stdout
    wall = (time.monotonic_ns() - begin) // 1000
    r = stats(images, "restore")
    # two of three tasks share their memory, which is read once; the vdso is the kernel's own
    assert r.pages_restored == stored(images) - 2 * vdso == shown(out)["Displaying restore stats: Pages restored False"]
    assert 0 < r.forking_time < r.restore_time < wall
    assert r.HasField("pages_compared") and r.HasField("pages_skipped_cow")
    end(process.pid)


def test_work_dir(criu: Criu, quiet, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """There, not among the images; nothing is printed unless asked for."""
    work = tmp_path / "work"
    work.mkdir()
    assert criu("dump", "-t", str(quiet.pid), "-D", images, "-W", str(work)).stdout == ""
    quiet.wait()
    assert criu("restore", "-d", "-S", "-D", images, "-W", str(work)).stdout == ""
    assert sorted(p.name for p in work.iterdir()) == ["stats-dump", "stats-restore"]
    assert not list(Path(images).glob("stats-*"))
    quiet.send_signal(signal.SIGKILL)


def test_as_the_peer_prints_them(criu: Criu, peer_criu: Path, tree, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The same names and units in the same order; of one tree, the same pages."""
    process = tree()
    theirs = tmp_path / "theirs"
    theirs.mkdir()

    def peer(*args: str) -> dict[str, int]:
        command = [str(peer_criu), *args, "-o", "peer.log", "-D", str(theirs)]
        return shown(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)

    args = ("dump", "-t", str(process.pid), "--display-stats")
    printed = shown(criu(*args, "-R", "-D", images).stdout)
    kids = proc.children(process.pid)
    assert list(printed) == list(peer(*args))
    process.wait()
    wait(lambda: not any(Path(f"/proc/{p}").exists() for p in kids))
    a, b = stats(images, "dump"), stats(str(theirs), "dump")
    # a page of text a task, in which its parasite was; pages scanned are the steps of its own search
    assert 0 <= b.pages_written - a.pages_written <= 2
    assert b.pages_written == stored(str(theirs))
    args = ("restore", "-d", "-S", "--display-stats")
    printed = shown(criu(*args, "-D", images).stdout)
    end(process.pid)
    assert list(printed) == list(peer(*args))
    end(process.pid)
    # of copy-on-write: what the child has of its parent is not read
    c, d = stats(images, "restore"), stats(str(theirs), "restore")
    for r in (c, d):
        assert PAGES <= r.pages_skipped_cow <= r.pages_compared < 2 * PAGES
        assert PAGES < r.pages_restored < 2 * PAGES
    assert c.pages_skipped_cow + c.pages_restored < a.pages_written
    assert d.pages_skipped_cow + d.pages_restored <= b.pages_written
    assert {f.name for f in stats(images, "restore").DESCRIPTOR.fields} == {
        f.name for f, _ in stats(str(theirs), "restore").ListFields()
    }


def test_counters_for_others(tmp_path: Path) -> None:
    """What others count is written and printed; a time that does not fit is the largest that does."""
    from engine.context import Context
    from engine.log import Log
    from engine.options import Options

    options = Options()
    options.work_dir = str(tmp_path)
    ctx = Context(options, Log())
    dump, restore = DumpStats(), RestoreStats()
    for i, name in enumerate(DumpStats.__slots__):
        setattr(dump, name, i + 1)
    dump.frozen = 1 << 40
    restore.pages_compared, restore.pages_skipped_cow = 5, 3
    dump.write(ctx)
    restore.write(ctx)
    d, r = stats(str(tmp_path), "dump"), stats(str(tmp_path), "restore")
    assert (d.shpages_scanned, d.shpages_written) == (dump.shpages_scanned, dump.shpages_written) != (0, 0)
    assert (d.pages_skipped_parent, d.pages_lazy) == (dump.pages_skipped_parent, dump.pages_lazy)
    assert d.frozen_time == 2**32 - 1 and d.irmap_resolve == dump.irmap_resolve
    assert (r.pages_compared, r.pages_skipped_cow) == (5, 3)
