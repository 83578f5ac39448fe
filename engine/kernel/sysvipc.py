"""System V IPC (sysvipc(7)) of the IPC namespace that the engine is in at the moment."""

from __future__ import annotations

import os

from engine.errors import KernelError
from engine.kernel import proc
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.process import prctl, securebits
from engine.kernel.uapi import prctl as pr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
IPC_PRIVATE = 0
IPC_RMID = 0
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000  # of the mode that a segment is shown with
SHM_HUGETLB, SHM_NORESERVE, SHM_RDONLY, SHM_REMAP = 0o4000, 0o10000, 0o10000, 0o40000
SHM_LOCK = 11
MODE = 0o777
SHM, SEM, MSG = "shm", "sem", "msg"
_KIND = {SHM: b"m", SEM: b"s", MSG: b"q"}
_ENOMEM = 12
PAGE = 4096
_NO_SETUID_FIXUP = 1 << 2


def listed(kind: str) -> list[dict[str, int]]:
    """The objects of a kind, by the columns of proc_pid_sysvipc(5); users are as the engine calls them."""
    title, *lines = proc.read_text(f"/proc/sysvipc/{kind}").splitlines()
    names = title.split()
    out = []
    for line in lines:
        row = dict(zip(names, line.split(), strict=True))
        perms = int(row.pop("perms"), 8)
        out.append({name: int(value) for name, value in row.items()} | {"perms": perms})
    return out


def ipc_set(kind: str, ident: int, uid: int, gid: int, mode: int, qbytes: int = 0) -> None:
    """IPC_SET: owner and mode, and of a queue how many bytes it holds."""
    call = f"{kind}ctl({ident}, IPC_SET, user {uid}, group {gid}, mode {mode & MODE:o}"
    call += f", {qbytes} bytes)" if kind == MSG else ")"
    check(lib.zd_ipc_set(_KIND[kind], ident, uid, gid, mode & MODE, qbytes), call)


def shmget(key: int, size: int, flags: int) -> int:
    """A new segment; where there is no room for all of it, one that takes room when it is touched (SHM_NORESERVE)."""
    flags |= IPC_CREAT | IPC_EXCL
    found = lib.zd_shmget(_int(key), size, flags)
    if found == -_ENOMEM and not flags & SHM_HUGETLB:
        found = lib.zd_shmget(_int(key), size, flags | SHM_NORESERVE)
    what = "there are not enough huge pages (vm.nr_hugepages)" if flags & SHM_HUGETLB else ""
    return check(found, f"shmget({key:#x}, {size} bytes, {flags:#o})", what)


class attached:
    """A segment in the engine's own memory, until `detach`."""

    __slots__ = ("address", "ident")

    def __init__(self, ident: int, flags: int = 0) -> None:
        self.ident = ident
        self.address = check(lib.zd_shmat(ident, flags), f"shmat({ident})")

    def __enter__(self) -> attached:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.detach()

    def detach(self) -> None:
        """shmdt(2)."""
        check(lib.zd_shmdt(self.address), f"shmdt({self.ident})")

    def view(self, size: int) -> memoryview:
        """Its bytes, to be read into."""
        return memoryview(ffi.buffer(ffi.cast("char *", self.address), size))

    def open(self) -> int:
        """A descriptor of the object itself, for reading. Takes CAP_CHECKPOINT_RESTORE (proc_pid_map_files(5))."""
        prefix = f"{self.address:x}-"
        name = next(name for name in os.listdir("/proc/self/map_files") if name.startswith(prefix))
        try:
            return os.open(f"/proc/self/map_files/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise KernelError(f"open(/proc/self/map_files/{name})", e.errno or 0, f"segment {self.ident}") from e


def made_key(fd: int) -> int:
    """The key that a segment was made with, which its name tells: a removed one has none any more."""
    name = os.readlink(f"/proc/self/fd/{fd}").removeprefix("/SYSV").partition(" ")[0]
    return int(name, 16)


def huge_page(fd: int) -> int:
    """The size in bytes of an object's pages, where it is of hugetlbfs; else 0."""
    size = os.fstatvfs(fd).f_bsize  # tmpfs always says 4096, whatever its pages are
    return size if size > PAGE else 0


def shmctl(ident: int, command: int, name: str) -> None:
    """SHM_LOCK or IPC_RMID."""
    check(lib.zd_shmctl(ident, command), f"shmctl({ident}, {name})")


def semget(key: int, count: int, flags: int) -> int:
    """A new set."""
    flags |= IPC_CREAT | IPC_EXCL
    return check(lib.zd_semget(_int(key), count, flags), f"semget({key:#x}, {count}, {flags:#o})")


def sem_values(ident: int, count: int) -> bytes:
    """The values of a set, 16 bits each."""
    values = ffi.new("unsigned short[]", count)
    check(lib.zd_sem_values(ident, values, 0), f"semctl({ident}, GETALL)")
    return bytes(ffi.buffer(values))


def set_sem_values(ident: int, values: bytes) -> None:
    """Set all of them."""
    check(lib.zd_sem_values(ident, ffi.from_buffer("unsigned short[]", values), 1), f"semctl({ident}, SETALL)")


def semop(ident: int, number: int, by: int) -> None:
    """Change one semaphore."""
    check(lib.zd_semop(ident, number, by), f"semop({ident}, number {number}, {by:+})")


def msgget(key: int, flags: int) -> int:
    """A new queue."""
    flags |= IPC_CREAT | IPC_EXCL
    return check(lib.zd_msgget(_int(key), flags), f"msgget({key:#x}, {flags:#o})")


def msg_copies(ident: int, count: int, most: int) -> list[tuple[int, bytes]]:
    """(type, text) of a queue's messages, which stay in it; none has more than `most` bytes. MSG_COPY: msgop(2)."""
    buffer = ffi.new("long[]", 1 + (most + 7) // 8)
    out = []
    for index in range(count):
        size = check(lib.zd_msg_copy(ident, buffer, most, index), f"msgrcv({ident}, MSG_COPY, {index})")
        out.append((int(buffer[0]), bytes(ffi.buffer(buffer + 1, size))))
    return out


def queue_limit(ident: int) -> int:
    """How many bytes a queue holds at most."""
    return check(lib.zd_msg_qbytes(ident), f"msgctl({ident}, IPC_STAT)")


def msgsnd(ident: int, kind: int, text: bytes) -> None:
    """Put a message into a queue; KernelError(EAGAIN) where that is full."""
    message = ffi.new("char[]", kind.to_bytes(8, "little", signed=True) + text)
    check(lib.zd_msgsnd(ident, message, len(text)), f"msgsnd({ident}, type {kind}, {len(text)} bytes)")


def _int(key: int) -> int:
    """A key as the kernel's type has it."""
    return key - (1 << 32) if key >= 1 << 31 else key


class creator:
    """A context in which what is made is made by another user and group, with the capabilities of now."""

    __slots__ = ("_bits", "_gid", "_own", "_uid")

    def __init__(self, uid: int, gid: int) -> None:
        self._uid = uid
        self._gid = gid
        self._own = os.geteuid(), os.getegid()
        self._bits = 0

    def __enter__(self) -> None:
        if self._own == (self._uid, self._gid):
            return
        self._bits = securebits()
        prctl(pr.PR_SET_SECUREBITS, self._bits | _NO_SETUID_FIXUP)
        self._become(self._uid, self._gid)

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._own == (self._uid, self._gid):
            return
        self._become(*self._own)
        prctl(pr.PR_SET_SECUREBITS, self._bits)
        prctl(pr.PR_SET_DUMPABLE, 1)  # which changed ids end, and then nobody could look at this process

    def _become(self, uid: int, gid: int) -> None:
        try:
            os.setresgid(-1, gid, -1)
            os.setresuid(-1, uid, -1)
        except OSError as e:
            raise KernelError(f"setresgid(-1, {gid}, -1), setresuid(-1, {uid}, -1)", e.errno or 0) from e
