"""io_uring(7): what fdinfo, the rings themselves, and the answers of io_uring_register(2) tell about one."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time

from engine.errors import KernelError
from engine.kernel import proc
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.secretmem import PAGE, present

LINK = "anon_inode:[io_uring]"
# IORING_SETUP_* (linux/io_uring.h)
IOPOLL, SQPOLL, SQ_AFF, CQSIZE, R_DISABLED = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6
SUBMIT_ALL, TASKRUN_FLAG, SQE128, CQE32 = 1 << 7, 1 << 9, 1 << 10, 1 << 11
SINGLE_ISSUER, DEFER_TASKRUN, NO_SQARRAY, CQE_MIXED = 1 << 12, 1 << 13, 1 << 16, 1 << 18
OFF_SQ_RING, OFF_CQ_RING, OFF_SQES = 0, 0x8000000, 0x10000000
ENTER_SQ_WAKEUP, ENTER_REGISTERED_RING = 1 << 1, 1 << 4
REGISTER_BUFFERS, REGISTER_FILES, REGISTER_ENABLE_RINGS = 0, 2, 12
NAPI, ZCRX, RESIZE, MEM_REGION, EVENTFD, UNREGISTER_PERSONALITY, PBUF_STATUS = 27, 32, 33, 34, 4, 10, 26
UNREGISTER_EVENTFD, REGISTER_RING_FDS, USE_REGISTERED_RING = 5, 20, 1 << 31
NOWHERE = 1 << 63  # an address that nobody can have
NO_PERSONALITY = 1 << 17  # beyond all numbers of any
# What is asked of a ring by calls that fail in any case, and change nothing: how they fail tells. Codes and counts.
QUESTIONS = {
    UNREGISTER_PERSONALITY: (0, NO_PERSONALITY),
    **dict.fromkeys((EVENTFD, NAPI, MEM_REGION, RESIZE, ZCRX), (NOWHERE, 1)),
}
# struct io_uring_params: sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3], and
# the offsets of either ring
PARAMS = struct.Struct("<10I8IQ8IQ")
SQE, CQE = 64, 16  # bytes, without SQE128 and CQE32
_CQE_F_32 = 1 << 15  # IORING_CQE_F_32
_FEW = 16
_ROOM, _LINE, _LONG_LINE = 1 << 16, 512, 4096 * 4  # bytes of fdinfo: of an entry, of a name at most
_PAUSE_S = 0.0002
_KEYS = ("SqMask", "CqMask", "CachedSqHead", "SqTail", "CqHead", "CachedCqTail", "SqThread", "UserFiles", "UserBufs")


def is_one(link: str) -> bool:
    """Is what a link of procfs shows, or a mapping, an io_uring's?"""
    return link == LINK


class Facts:
    """fdinfo of a ring. Heads and tails are those that the kernel goes by, where it has its own."""

    __slots__ = (
        *("buffer_slots", "buffers", "cq_entries", "cq_head", "cqes", "file_slots", "files", "napi"),
        *("overflow", "personalities", "polls", "posted", "sq_entries", "sq_tail", "sqes", "submitted", "thread"),
    )

    def __init__(self, text: str) -> None:
        """ValueError when the ring was too busy to tell everything."""
        values: dict[str, str] = {}
        below: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in text.splitlines():
            key, colon, value = line.partition(":")
            if colon and line[:1].isalpha():
                values[key] = value.strip()
                lines = below[key] = []
            elif line.strip():
                lines.append(line.strip())
        if any(key not in values for key in _KEYS):
            raise ValueError(f"an io_uring tells no more than {', '.join(values)}")
        self.sq_entries, self.cq_entries = (int(values[key], 16) + 1 for key in ("SqMask", "CqMask"))
        self.submitted, self.sq_tail, self.cq_head, self.posted = (
            int(values[key]) for key in ("CachedSqHead", "SqTail", "CqHead", "CachedCqTail")
        )
        self.thread = int(values["SqThread"])
        self.sqes, self.cqes = below.get("SQEs", []), below.get("CQEs", [])
        self.file_slots, self.buffer_slots = int(values["UserFiles"]), int(values["UserBufs"])
        self.files = {int(slot): name for slot, name in map(_slot, below["UserFiles"])}
        self.buffers = {int(slot): _buffer(what) for slot, what in map(_slot, below["UserBufs"]) if what != "<none>"}
        self.polls, self.overflow = len(below.get("PollList", [])), len(below.get("CqOverflowList", []))
        self.personalities = "Personalities" in values
        self.napi = values.get("NAPI", "disabled") != "disabled"

    @property
    def is_idle(self) -> bool:
        """Has every request had its completion? As far as counting tells."""
        return self.submitted == self.posted and not self.polls and not self.overflow


def _slot(line: str) -> tuple[str, str]:
    slot, _, what = line.partition(": ")
    return slot, what


def _buffer(text: str) -> tuple[int, int]:
    address, _, length = text.partition("/")
    return int(address, 16), int(length)


def look(pid: int | str, fd: int, tries: int = 2000) -> Facts:
    """What fdinfo says of a ring. KernelError EBUSY when it is held by somebody all the time."""
    while True:
        try:
            return Facts(proc.read_text(f"/proc/{pid}/fdinfo/{fd}"))
        except ValueError as e:
            tries -= 1
            if not tries:
                raise KernelError(f"reading /proc/{pid}/fdinfo/{fd}", errno.EBUSY, str(e)) from e
            time.sleep(_PAUSE_S)


class Geometry:
    """Where things are in a ring of so many entries: offsets in its mappings, and their sizes, in bytes."""

    __slots__ = (
        *("cq_flags", "cq_head", "cqe", "cqes", "dropped", "overflow"),
        *("rings", "sq_array", "sq_head", "sq_tail", "sqe", "sqes"),
    )

    def __init__(self, sq_entries: int, cq_entries: int, setup: int) -> None:
        """As this kernel makes it. KernelError where it does not."""
        flags = setup & ~(SQPOLL | SQ_AFF) | CQSIZE
        params = ffi.from_buffer(raw := bytearray(PARAMS.pack(0, cq_entries, flags, *(0,) * 25)))
        what = f"io_uring_setup({sq_entries}, flags {flags:#x})"
        os.close(check(lib.zd_io_uring_setup(sq_entries, params), what, "see /proc/sys/kernel/io_uring_disabled"))
        fields = PARAMS.unpack(raw)
        if fields[:2] != (sq_entries, cq_entries):
            raise KernelError(what, errno.EINVAL, f"{fields[:2]} entries instead of {(sq_entries, cq_entries)}")
        self.sq_head, self.sq_tail, _, _, _, self.dropped, self.sq_array = fields[10:17]
        self.cq_head, _, _, _, self.overflow, self.cqes, self.cq_flags = fields[19:26]
        self.sqe = SQE << bool(setup & SQE128)
        self.cqe = CQE << bool(setup & CQE32)
        self.sqes = sq_entries * self.sqe
        self.rings = max(self.cqes + cq_entries * self.cqe, self.sq_array + (sq_entries * 4 if self.sq_array else 0))


def ask(fd: int) -> dict[int, int]:
    """What a ring answers to us: by code of QUESTIONS, and by -1 to io_uring_enter(2). Errnos, 0 for none."""
    out = {-1: -lib.zd_io_uring_enter(fd)}
    for code, (what, count) in QUESTIONS.items():
        out[code] = -lib.zd_io_uring_register(fd, code, what, count)
    return out


def tells_deferral() -> bool:
    """Does this kernel tell a ring with DEFER_TASKRUN from others?"""
    params = ffi.from_buffer(bytearray(PARAMS.pack(0, 0, SINGLE_ISSUER | DEFER_TASKRUN, *(0,) * 25)))
    fd = check(lib.zd_io_uring_setup(1, params), "io_uring_setup(1, IORING_SETUP_DEFER_TASKRUN)")
    try:
        return bool(lib.zd_io_uring_register(fd, RESIZE, *QUESTIONS[RESIZE]) == -errno.EFAULT)
    finally:
        os.close(fd)


def refusals(answers: dict[int, int]) -> list[str]:
    """What of a ring nobody could make again, one line each: what and remedy."""
    out = []
    if answers[-1] == errno.EBADFD:
        out.append("is not enabled yet: enable it (IORING_REGISTER_ENABLE_RINGS)")
    if answers[UNREGISTER_PERSONALITY] == errno.EACCES:
        return [*out, "has restrictions (IORING_REGISTER_RESTRICTIONS), which the kernel does not tell: close it"]
    if answers[EVENTFD] == errno.EBUSY:
        out.append(
            "has an eventfd registered, the kernel does not tell which: unregister it (IORING_UNREGISTER_EVENTFD)"
        )
    if answers[NAPI] == errno.EINVAL:
        out.append("polls for completions (IORING_SETUP_IOPOLL): not supported yet; close it")
    if answers[MEM_REGION] == errno.EBUSY:
        out.append("has a region of memory registered (IORING_REGISTER_MEM_REGION): not supported yet; close it")
    return out


class Shapes:
    """Which entries of a ring are the large ones, and whether there is an array of indices.

    fdinfo shows the entries between head and tail. Where there are none, the head goes back for a moment. The tree must
    be frozen.
    """

    __slots__ = ("_at", "_facts", "_fd")

    def __init__(self, fd: int, facts: Facts) -> None:
        """`fd` is a copy of its descriptor."""
        self._fd = fd
        self._facts = facts
        self._at = Geometry(1, 1, 0)  # of the first page of any

    def setup(self) -> int:
        """IORING_SETUP_SQE128, CQE32, CQE_MIXED, NO_SQARRAY. KernelError, OSError."""
        facts = self._facts
        with mmap.mmap(self._fd, PAGE, offset=OFF_SQ_RING) as header:
            cqes = facts.cqes or self._moved(header, self._at.cq_head, 1).cqes
            sqes = facts.sqes or self._moved(header, self._at.sq_head, min(facts.sq_entries, _FEW)).sqes
        setup = 0
        if any(int(line.partition(" flag:")[2].partition(",")[0], 16) & _CQE_F_32 for line in cqes):
            setup |= CQE_MIXED
        elif any(", extra1:" in line for line in cqes):
            setup |= CQE32
        if not sqes:
            setup |= NO_SQARRAY
        if any(", e0:" in line for line in sqes) if sqes else self._has_large():
            setup |= SQE128
        return setup

    def _moved(self, header: mmap.mmap, where: int, by: int) -> Facts:
        """fdinfo with a head that is less."""
        pending = self._facts.sq_tail - self._facts.submitted & 0xFFFFFFFF
        known = self._facts.file_slots + self._facts.buffer_slots
        size = _ROOM + _LINE * (by + pending + len(self._facts.cqes)) + _LONG_LINE * known
        text = ffi.new("char[]", size)
        path = f"/proc/self/fdinfo/{self._fd}"
        fdinfo = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = ffi.cast("unsigned *", ffi.from_buffer(header) + where)
            got = check(lib.zd_io_uring_peek(head, by, fdinfo, text, size), f"reading {path} with a head that is less")
        finally:
            os.close(fdinfo)
        try:
            return Facts(os.fsdecode(ffi.buffer(text, got)[:]))
        except ValueError as e:
            raise KernelError(f"reading {path}", errno.EBUSY, str(e)) from e

    def _has_large(self) -> bool:
        """Without an array fdinfo shows no submissions: so by the size of their memory, and by what is in it."""
        small = self._facts.sq_entries * SQE
        with mmap.mmap(self._fd, 2 * small, offset=OFF_SQES) as memory:
            if sum(length for _, length in present(memory)) > small + -small % PAGE:
                return True
            return small < PAGE and any(memory[small : min(2 * small, PAGE)])
