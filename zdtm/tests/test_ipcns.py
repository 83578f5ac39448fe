"""IPC namespaces: everything in one goes into images, and comes back in another, in a user namespace too."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.context import Context
from engine.errors import BadImage, EngineError
from engine.images import wire
from engine.images.files import Images
from engine.kernel import namespaces, sysvipc
from engine.log import Log
from engine.namespaces import ipc, sysv_msg, sysv_shm
from engine.namespaces.table import Namespace
from engine.namespaces.user import Ids
from engine.options import Options
from zdtm.tests.test_userns import mapped
from zdtm.tests.worlds import run_in, world

PAGE = 4096
KINDS = (sysvipc.SHM, sysvipc.SEM, sysvipc.MSG)
LIMITS = {"kernel/msgmax": "99", "kernel/shmmax": "4096", "kernel/sem": "3\t32000\t9\t50", "kernel/msgmnb": "1000"}
# what nobody can set
LOST = {"cpid", "lpid", "nattch", "atime", "dtime", "ctime", "otime", "stime", "rtime", "lspid", "lrpid", "swap", "rss"}
MESSAGES = [(5, b"five"), (2**63 - 1, b""), (1, bytes(range(256)) * 30), (5, b"x")]


@pytest.fixture
def ctx() -> Context:
    return Context(Options(), Log())


@pytest.fixture
def images(ctx: Context, tmp_path: Path) -> Iterator[Images]:
    from engine.kernel import pagemap

    tmp_path.chmod(0o755)  # for root of a user namespace, who has no rights outside
    images = Images.open(ctx.schema, str(tmp_path), pagemap)
    yield images
    images.close()


def sysctls() -> dict[str, str]:
    return {name: Path("/proc/sys", name).read_text().strip() for _, name in ipc._LIMITS}


def rows() -> dict[str, list[dict[str, int]]]:
    """All objects, without what is lost."""
    found = {}
    for kind in KINDS:
        its = [{k: v for k, v in row.items() if k not in LOST} for row in sysvipc.listed(kind)]
        found[kind] = sorted(its, key=lambda row: row[{"shm": "shmid", "sem": "semid", "msg": "msqid"}[kind]])
    return found


def segment(ident: int, size: int) -> bytes:
    with sysvipc.attached(ident) as its:
        view = its.view(size)
        data = bytes(view)
        view.release()
    return data


def contents() -> dict[tuple[str, int], Any]:
    """Of all objects. Segments are looked at where they are not removed, which another look would end."""
    out: dict[tuple[str, int], Any] = {}
    for row in sysvipc.listed(sysvipc.SHM):
        if row["size"] < 1 << 30:
            out["shm", row["shmid"]] = segment(row["shmid"], row["size"])
    for row in sysvipc.listed(sysvipc.SEM):
        out["sem", row["semid"]] = sysvipc.sem_values(row["semid"], row["nsems"])
    for row in sysvipc.listed(sysvipc.MSG):
        out["msg", row["msqid"]] = sysv_msg._copies(row["msqid"], row, Ids())
        out["msg", -row["msqid"]] = sysvipc.queue_limit(row["msqid"])
    return out


def populate() -> None:
    """Objects of every kind; sequence numbers, gaps, keys and owners, and limits that none of them fits under."""
    for _ in range(3):
        sysvipc.shmget(0, PAGE, 0o600)
        sysvipc.semget(0, 1, 0o600)
        sysvipc.msgget(0, 0o600)
    sysvipc.shmctl(1, sysvipc.IPC_RMID, "IPC_RMID")
    with sysvipc.creator(1000, 1001):
        odd = sysvipc.shmget(0xFEDCBA98, 5000, 0o640)
        semaphores = sysvipc.semget(0x7FFFFFFF, 300, 0o604)
        queue = sysvipc.msgget(-5 & 0xFFFFFFFF, 0o060)
    with sysvipc.attached(odd) as its:
        its.view(5000)[:] = bytes(i * 7 & 255 for i in range(5000))
    sysvipc.ipc_set(sysvipc.SHM, odd, 20, 30, 0o421)
    sysvipc.shmctl(odd, sysvipc.SHM_LOCK, "SHM_LOCK")
    sysvipc.set_sem_values(semaphores, b"".join((i * 109 & 0x7FFF).to_bytes(2, "little") for i in range(300)))
    for kind_, text in MESSAGES:
        sysvipc.msgsnd(queue, kind_, text)
    sysvipc.ipc_set(sysvipc.MSG, queue, 0, 0, 0o111, sum(len(text) for _, text in MESSAGES))
    sparse = sysvipc.shmget(77, 8 << 30, 0o600 | sysvipc.SHM_NORESERVE)
    gone = sysvipc.shmget(78, 3 * PAGE, 0o600)
    held = sysvipc.attached(gone)
    held.view(10)[:] = b"0123456789"
    sysvipc.shmctl(gone, sysvipc.IPC_RMID, "IPC_RMID")
    with sysvipc.attached(sparse) as its:
        its.view(8 << 30)[5 << 30 : (5 << 30) + 3] = b"far"
    for name, value in LIMITS.items():
        Path("/proc/sys", name).write_text(value)


def far() -> tuple[bytes, int]:
    """What is far out in the sparse segment, and how many bytes all segments take before anybody looks."""
    used = sum(row["rss"] for row in sysvipc.listed(sysvipc.SHM))
    (row,) = (row for row in sysvipc.listed(sysvipc.SHM) if row["key"] == 77)
    with sysvipc.attached(row["shmid"]) as its:
        view = its.view(row["size"])
        data = bytes(view[5 << 30 : (5 << 30) + 4])
        view.release()
    return data, used


def look() -> tuple[Any, ...]:
    return sysctls(), rows(), far(), contents()


def dumped(ctx: Context, images: Images, pid: int, ident: int = 11, taken: tuple[int, ...] = ()) -> None:
    ctx.options.tree = pid
    ipc.dump(ctx, images, Namespace("ipc", ident, 0, pid), taken)


def as_root() -> tuple[Any, ...]:
    """In a user namespace."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return look()


@pytest.mark.parametrize("raw", [False, True], ids=["pagemaps", "raw"])
def test_everything_comes_back(ctx: Context, images: Images, raw: bool) -> None:
    with world(("ipc",), populate) as (pid, _):
        dumped(ctx, images, pid, taken=tuple(range(100)) if raw else ())
        before = run_in(pid, ("ipc",), look)
    assert len(before[1]["shm"]) == 5 and before[0] == before[0] | LIMITS
    assert before[2] == (b"far\0", 4 * PAGE)
    assert [entry.in_pagemaps for entry in images.read("IPCNS_SHM", 11)] == [not raw] * 5
    if raw:
        assert not images.names().count("pagemap-shmem-0.img")
        assert os.stat("ipcns-shm-11.img", dir_fd=images.dirfd).st_blocks * 512 < 1 << 20
    with world(("ipc",), lambda: (ipc.restore(ctx, images, 11), look())[1]) as (_, after):
        same(after, before, 16 if raw else 4)  # pages of a segment are not pages of a file, where they are in one


def same(after: tuple[Any, ...], before: tuple[Any, ...], pages: int = 4) -> None:
    """All is as it was, and takes no more pages than that."""
    for i in (0, 1, 3):
        assert after[i] == before[i]
    assert after[2][0] == before[2][0] and after[2][1] <= pages * PAGE


def test_in_a_user_namespace(ctx: Context, images: Images) -> None:
    """Ids in the images are those inside: dumped from one map, restored under another."""

    def inside(work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            namespaces.unshare(namespaces.FLAGS["ipc"])
            return work()

        return run

    def make() -> Any:
        populate()
        child = os.fork()
        if not child:
            signal.pause()
        return child

    with world(("user",)) as (pid, _):
        mapped(pid)
        child = run_in(pid, ("user",), inside(make))
        try:
            dumped(ctx, images, child)
            before = run_in(child, ("ipc", "user"), as_root)
        finally:
            os.kill(child, 9)
    with world(("user",)) as (pid, _):
        mapped(pid, "0 700000 70000\n", "0 800000 70000\n")
        after = run_in(pid, ("user",), inside(lambda: (ipc.restore(ctx, images, 11), look())[1]))
    same(after, before)


def test_removed_segments_end_with_their_last_attachment(ctx: Context, images: Images) -> None:
    with world(("ipc",), populate) as (pid, _):
        dumped(ctx, images, pid)

    def count() -> list[int]:
        return [sum(bool(row["perms"] & sysvipc.SHM_DEST) for row in sysvipc.listed(sysvipc.SHM))]

    def both() -> list[int]:
        held = ipc.restore(ctx, images, 11)
        found = count()
        held.close()
        return found + count()

    with world(("ipc",), both) as (_, found):
        assert found == [1, 0]


def test_segments_that_would_end(ctx: Context) -> None:
    def forced() -> None:
        sysvipc.shmget(1, PAGE, 0o600)
        Path("/proc/sys/kernel/shm_rmid_forced").write_text("1")

    with world(("ipc",), forced) as (pid, _):
        (refusal,) = ipc.blockers(ctx, Namespace("ipc", 11, 5, pid))
        assert "ipc:[5]: segment 0 is attached by nobody, and with kernel.shm_rmid_forced 1" in refusal
    with world(("ipc",), populate) as (pid, _):
        assert ipc.blockers(ctx, Namespace("ipc", 11, 5, pid)) == []


def test_an_id_that_is_taken(ctx: Context, images: Images) -> None:
    with world(("ipc",), lambda: sysvipc.shmget(0, PAGE, 0o600)) as (pid, _):
        dumped(ctx, images, pid)

    def again() -> str:
        sysvipc.shmget(0, PAGE, 0o600)
        try:
            ipc.restore(ctx, images, 11)
        except EngineError as e:
            return str(e)
        return ""

    with world(("ipc",), again) as (_, error):
        assert "ipcns-shm-11.img: the kernel gave the shm object 0 the id" in error


def bad(change: Callable[[Context, Images], None]) -> Callable[[Context, Images], str]:
    def run(ctx: Context, images: Images) -> str:
        images.remove_created()
        with world(("ipc",), populate) as (pid, _):
            dumped(ctx, images, pid)
        change(ctx, images)
        with pytest.raises(BadImage) as caught:
            ipc.check(images, 11)
        return str(caught.value)

    return run


def alter(kind: str, change: Callable[[Any], None]) -> Callable[[Context, Images], None]:
    def run(ctx: Context, images: Images) -> None:
        found = images.read_payload(kind, 11)
        change(found[-1][0])
        images.write_payload(kind, (11,), found)

    return run


def test_bad_images(ctx: Context, images: Images) -> None:
    def key(entry: Any) -> None:
        entry.desc.key, entry.desc.id = 77, 78

    def same(entry: Any) -> None:
        entry.desc.id = 0

    assert "id 0x0" in bad(alter("IPCNS_SEM", same))(ctx, images)
    assert "no id" in bad(alter("IPCNS_MSG", lambda e: setattr(e.desc, "id", 1 << 31)))(ctx, images)
    assert "above any limit" in bad(alter("IPCNS_MSG", lambda e: setattr(e, "qbytes", 1 << 31)))(ctx, images)
    assert "has 0 bytes" in bad(alter("IPCNS_SHM", lambda e: setattr(e, "size", 0)))(ctx, images)

    def values(ctx: Context, images: Images) -> None:
        found = images.read_payload("IPCNS_SEM", 11)
        found[0] = found[0][0], b"\0\x80" + found[0][1][2:]
        images.write_payload("IPCNS_SEM", (11,), found)

    assert "a value above 32767" in bad(values)(ctx, images)

    def kinds(ctx: Context, images: Images) -> None:
        found = images.read_payload("IPCNS_MSG", 11)
        entry, raw = found[-1]
        messages = wire.ipc_messages(ctx.schema, raw, "")
        messages[0][0].mtype = 0
        found[-1] = entry, wire.pack_ipc_messages(messages)
        images.write_payload("IPCNS_MSG", (11,), found)

    assert "of type 0" in bad(kinds)(ctx, images)

    def limits(ctx: Context, images: Images) -> None:
        entry = images.read_one("IPC_VAR", 11)
        del entry.sem_ctls[3]
        images.write("IPC_VAR", (11,), [entry])

    assert "3 numbers" in bad(limits)(ctx, images)


def test_sizes(ctx: Context, images: Images) -> None:
    with world(("ipc",), populate) as (pid, _):
        dumped(ctx, images, pid)
    assert set(sysv_shm.sizes(images, 11).values()) == {PAGE, 2 * PAGE, 3 * PAGE, 8 << 30}
