"""System V shared memory: segments in ipcns-shm-ID.img, contents by pagemaps; attachments in tasks' programs.

A segment's contents are in pagemap-shmem-SHMID.img, where SHMID is its id, as CRIU has it. Where somebody has contents
under that number already (an object of shared memory, or a segment of another IPC namespace) they are in
ipcns-shm-ID.img itself, as in images of older CRIUs.

Who made it, who attached it last, and when, cannot be restored, nor told whether room was reserved (SHM_NORESERVE).
"""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError
from engine.images.pagemap import PE_PRESENT
from engine.kernel import pagemap, shmem, sysvipc
from engine.kernel.uapi import mman as mm
from engine.memory import shmem as objects
from engine.memory import vmas
from engine.namespaces import sysv
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.user import Ids
    from engine.plan.program import Program

_IMAGE = "IPCNS_SHM"
_PAGES = 1 << 20  # numbers of pages images from here on: tasks and other objects have those below
_HUGE_SHIFT = 26
_COPY = 1 << 20
PAGE = 4096


def dump(ctx: Context, images: Images, ident: int, ids: Ids, taken: Container[int]) -> tuple[int, int]:
    """Write all segments of the IPC namespace that the engine is in; without any, there is no image.

    Returns how many pages were looked at, and written to pages images.
    """
    rows = sysvipc.listed(sysvipc.SHM)
    if not rows:
        return 0, 0
    scanned = written = 0
    out = images.begin(_IMAGE, (ident,), [])
    try:
        for row in rows:
            entry = ctx.schema.message("ipc_shm_entry")(size=row["size"])
            number = sysv.describe(entry.desc, sysvipc.SHM, row, ids)
            entry.in_pagemaps = number not in taken and not images.exists("SHMEM_PAGEMAP", number)
            with sysvipc.attached(number, sysvipc.SHM_RDONLY) as segment:
                fd = segment.open()
            try:
                written += _dump(ctx, images, entry, fd, out)
                scanned += -(-entry.size // PAGE)
            finally:
                os.close(fd)
    finally:
        os.close(out)
    return scanned, written


def _dump(ctx: Context, images: Images, entry: Any, fd: int, out: int) -> int:
    """One segment: its entry, and its contents. Returns how many pages went to a pages image."""
    size = os.fstat(fd).st_size
    huge = sysvipc.huge_page(fd)
    if huge:
        entry.hugetlb_flag = sysvipc.SHM_HUGETLB | (huge.bit_length() - 1) << _HUGE_SHIFT
    if entry.desc.mode & sysvipc.SHM_DEST and (key := sysvipc.made_key(fd)):
        entry.made_key = key
    raw = entry.SerializeToString()
    os.write(out, len(raw).to_bytes(4, "little") + raw)
    number = entry.desc.id
    runs = shmem.runs(fd, size, huge)
    if entry.in_pagemaps:
        pages_id = _PAGES
        while images.exists("PAGES", pages_id):
            pages_id += 1
        pages = images.create_raw("PAGES", pages_id)
        try:
            name = f"{images.path}/{images.name('PAGES', pages_id)}"
            shmem.dump(fd, size, huge, pages, runs, f"segment {number} into {name}")
        finally:
            os.close(pages)
        head = ctx.schema.message("pagemap_head")(pages_id=pages_id)
        images.write_chunks("SHMEM_PAGEMAP", (number,), head, pagemap.encode(runs))
        return sum(count for _, count, _ in runs)
    begin = os.lseek(out, 0, os.SEEK_CUR)
    for start, count, _ in runs:
        end = min(start + count * PAGE, entry.size)
        os.lseek(out, begin + start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(out, fd, start, min(_COPY, end - start))
    os.lseek(out, begin + (entry.size + 3 & ~3), os.SEEK_SET)
    os.ftruncate(out, begin + (entry.size + 3 & ~3))
    return 0


def check(images: Images, ident: int) -> None:
    """BadImage for segments that cannot be."""
    for entry in sysv.check(images, _IMAGE, ident):
        name = images.name(_IMAGE, ident)
        if not 0 < entry.size < 1 << 47:
            raise BadImage(name, 0, f"segment {entry.desc.id} has {entry.size} bytes; dump again")
        if entry.in_pagemaps:
            objects.check(images, entry.desc.id, _mapped(entry))


def sizes(images: Images, ident: int) -> dict[int, int]:
    """How many bytes of memory each segment takes where it is attached, by id."""
    return {entry.desc.id: _mapped(entry) for entry in sysv.check(images, _IMAGE, ident)}


def _mapped(entry: Any) -> int:
    page = 1 << (entry.hugetlb_flag >> _HUGE_SHIFT & 63) if entry.hugetlb_flag else PAGE
    if page == 1:
        page = 2 << 20
    return int(-(-entry.size // page) * page)


class Held:
    """Segments that the engine has attached, because they end with the last attachment."""

    __slots__ = ("_segments",)

    def __init__(self) -> None:
        self._segments: list[sysvipc.attached] = []

    def add(self, segment: sysvipc.attached) -> None:
        """One more."""
        self._segments.append(segment)

    def close(self) -> None:
        """The tasks have them now."""
        while self._segments:
            self._segments.pop().detach()


def restore(ctx: Context, images: Images, ident: int, forced: bool) -> Held:
    """Make them. With `forced` (kernel.shm_rmid_forced) all of them end with their last attachment."""
    held = Held()
    if not images.exists(_IMAGE, ident):
        return held
    name = images.name(_IMAGE, ident)
    spans = images.read_spans(_IMAGE, ident)
    spans.sort(key=lambda span: not span[0].desc.mode & sysvipc.SHM_DEST)  # they give their keys back
    for entry, begin, length in spans:
        desc = entry.desc
        removed = bool(desc.mode & sysvipc.SHM_DEST)
        size, flags, made = entry.size, entry.hugetlb_flag, entry.made_key

        def get(key: int, mode: int, size: int = size, flags: int = flags, made: int = made) -> int:
            return sysvipc.shmget(key or made, size, mode | flags)

        sysv.make(sysvipc.SHM, desc, name, get)
        segment = sysvipc.attached(desc.id)
        _load(images, ident, entry, begin, length, segment)
        sysv.own(sysvipc.SHM, desc)
        if desc.mode & sysvipc.SHM_LOCKED:
            sysvipc.shmctl(desc.id, sysvipc.SHM_LOCK, "SHM_LOCK")
        if removed:  # while it is attached
            sysvipc.shmctl(desc.id, sysvipc.IPC_RMID, "IPC_RMID")
        if removed or forced:
            held.add(segment)
        else:
            segment.detach()
    return held


def _load(images: Images, ident: int, entry: Any, begin: int, length: int, segment: sysvipc.attached) -> None:
    """Its contents, from the image straight into the memory; holes stay holes."""
    memory = segment.view(_mapped(entry))
    if not entry.in_pagemaps:
        fd = images.open_raw(_IMAGE, ident)
        parts = _data(fd, begin, min(length, entry.size))
        what = images.name(_IMAGE, ident)
    else:
        head, runs = images.pagemap("SHMEM_PAGEMAP", entry.desc.id)
        offset, parts = 0, []
        for start, count, flags in runs:
            if flags & PE_PRESENT:
                parts.append((start, count * PAGE, offset))
                offset += count * PAGE
        if not parts:
            return
        fd = images.open_raw("PAGES", head.pages_id)
        what = images.name("PAGES", head.pages_id)
    try:
        for start, size, offset in parts:
            while size:
                done = os.preadv(fd, [memory[start : start + size]], offset)
                if not done:
                    raise BadImage(what, offset, f"truncated: inside of segment {entry.desc.id}; dump again")
                start, size, offset = start + done, size - done, offset + done
    except OSError as e:
        raise KernelError(f"filling segment {entry.desc.id} from {what}", e.errno or 0) from e
    finally:
        memory.release()
        os.close(fd)


def _data(fd: int, begin: int, size: int) -> list[tuple[int, int, int]]:
    """(offset in the segment, bytes, offset in the file) of what is data, and not a hole, of a part of a file."""
    out = []
    at, end = begin, begin + size
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: there is none behind it
            break
        hole = min(os.lseek(fd, at, os.SEEK_HOLE), end)
        if at < end:
            out.append((at - begin, hole - at, at))
        at = hole
    return out


def plan(program: Program, task: list[Any], sizes: dict[int, int], hole: int) -> dict[int, int]:
    """Attach what a task's mappings are of, in its program; returns each one's protection for now, by its start.

    Parts of one attachment stay parts of one (shmdt(2) goes by that). An attachment that is not there whole is made at
    `hole`, where there is room for the largest segment, its parts moved where they belong, and the rest given back.
    """
    prot: dict[int, int] = {}
    groups: dict[tuple[int, int, int], list[Any]] = {}
    for v in task:
        groups.setdefault((v.shmid, v.start - v.pgoff, v.fdflags), []).append(v)
    for (ident, base, mode), parts in groups.items():
        flags = 0 if mode & os.O_RDWR else sysvipc.SHM_RDONLY
        now = mm.PROT_READ | (mm.PROT_WRITE if mode & os.O_RDWR else 0)
        prot.update({v.start: now for v in parts})
        if ident not in sizes:
            raise BadImage("ipcns-shm", 0, f"there is no segment {ident}, which is mapped at {base:#x}; dump again")
        whole = base, base + sizes[ident]
        at = parts[0].start if [(v.start, v.end) for v in parts] == [whole] else hole
        note = f"segment {ident}"
        program.sys("shmat", ident, at, flags, expect=abi.EXPECT_EQUAL, want=at, note=note)
        if at != hole:
            continue
        left = sizes[ident]
        for v in parts:
            size = v.end - v.start
            if v.pgoff + size > sizes[ident]:
                raise BadImage("ipcns-shm", 0, f"segment {ident} ends before its mapping {vmas.text(v)}; dump again")
            how = mm.MREMAP_MAYMOVE | mm.MREMAP_FIXED
            program.sys("mremap", hole + v.pgoff, size, size, how, v.start, note=f"part of {note}")
            left -= size
        if left:
            program.sys("shmdt", hole, note=f"the rest of {note}")
    for v in task:
        size = v.end - v.start
        for bit in range(64):
            if v.madv >> bit & 1:
                program.sys("madvise", v.start, size, bit)
    return prot
