"""Epolls (epoll(7)): what each watches, under which number, for which events.

What is watched is a struct file, under the number that it had when it was registered. That number may be closed by now,
or be another file's, and the registration is there all the same while anybody has the file. So kcmp(2) tells which
of the tree's files it is, and the restore, in a task that has the epoll, puts that file at that number for a moment.

Level-triggered events are there again by themselves. Edge-triggered ones that were not fetched cannot be told from
those that were: what is ready is reported once more. EPOLLONESHOT that has fired stays so (docs/design.md).
"""

from __future__ import annotations

import os
import struct

from engine.blocks import nullcontext
from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import events, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.plan.program import Program
    from engine.tasks.borrow import Borrowed
    from engine.tasks.images import TaskImages
    from engine.tasks.opener import Opener

TYPE = 7  # fd_types.EVENTPOLL
_PARAMS = struct.Struct("<IHBx")  # struct epoll_params: busy_poll_usecs, busy_poll_budget, prefer_busy_poll
_CTL_ADD = 1
_ONESHOT = 1 << 30
_PRIVATE = 0xF << 28  # EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET: these stay when it has fired
_ALL = 0x27DF  # all events there are
_SIGSET_BYTES = 8
_POLLFD = struct.Struct("<ihh")
_POLLED = 3  # of one file, asked so often, poll(2) returns this when it is ready: EPOLL_CTL_MOD


class Watch:
    """One line of fdinfo. `nth` of those of the same number."""

    __slots__ = ("data", "dev", "events", "ino", "nth", "pos", "tfd")

    def __init__(self, line: dict[str, str], nth: int) -> None:
        self.tfd = int(line["tfd"])
        self.events = int(line["events"], 16)
        self.data = int(line["data"], 16)
        self.pos = int(line["pos"])
        self.ino = int(line["ino"], 16)
        self.dev = int(line["sdev"], 16)
        self.nth = nth

    def order(self, epoll: Descriptor, pid: int, fd: int) -> int:
        """kcmp(2) of a task's file with what is watched."""
        return events.kcmp_epoll(pid, fd, epoll.pid, epoll.fd, self.tfd, self.nth)

    def orders(self, epoll: Descriptor) -> Callable[[Descriptor], int]:
        """The same for a Descriptor."""
        return lambda other: self.order(epoll, other.pid, other.fd)


def watches(d: Descriptor) -> list[Watch]:
    """What an epoll watches, in the kernel's order."""
    out: list[Watch] = []
    count: dict[str, int] = {}
    for line in proc.fdinfo_lines(d.pid, d.fd, "tfd:"):
        number = line["tfd"]
        out.append(Watch(line, count.get(number, 0)))
        count[number] = out[-1].nth + 1
    return out


def check(d: Descriptor, scope: Scope) -> None:
    """Any can be dumped; what it watches is looked at when all descriptors are known."""


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry, but for what it watches."""
    from engine.blocks import closing
    from engine.files.held import Held

    entry.type = TYPE
    epfd = entry.epfd
    epfd.id = entry.id
    epfd.flags = d.flags & ~O_CLOEXEC
    with closing(Held(d)) as held:
        params = events.epoll_params(held.fd)
    if params and any(params):
        epfd.busy_poll_usecs, epfd.busy_poll_budget, prefer = _PARAMS.unpack(params)
        epfd.prefer_busy_poll = bool(prefer)


def dump_after(entry: Any, d: Descriptor, files: FileTable) -> None:
    """All files of the tree are known: what it watches. Unsupported for what nobody in the tree has."""
    for watch in watches(d):
        tfd = entry.epfd.tfd.add()
        tfd.id = 0
        tfd.tfd, tfd.events, tfd.data = watch.tfd, watch.events, watch.data
        tfd.dev, tfd.inode, tfd.pos = watch.dev, watch.ino, watch.pos
        if _is_there(watch, d):
            continue
        found = files.find(watch.ino, watch.orders(d))
        if found is None:
            raise Unsupported([_nobody(watch, d)])
        tfd.file, has = found
        tfd.number = watch.tfd
        if has.pid == d.pid:  # a reader that does not know these two has it under a number that it has now
            tfd.tfd = has.fd


class Survey:
    """The epolls of a tree."""

    __slots__ = ("_epolls",)

    def __init__(self, scope: Scope) -> None:
        self._epolls: list[Descriptor] = []

    def add(self, d: Descriptor) -> None:
        """One more."""
        self._epolls.append(d)

    def blockers(self, pids: set[int]) -> list[str]:
        """What is watched but open nowhere in the tree, one line each; `pids` are those of all its threads."""
        out = []
        inodes: dict[int, list[tuple[int, int]]] = {}
        for d in self._epolls:
            try:
                for watch in watches(d):
                    if _is_there(watch, d):
                        continue
                    inodes = inodes or _inodes(pids)
                    candidates = inodes.get(watch.ino, []) + [fd for fds in inodes.values() for fd in fds]
                    if not any(watch.order(d, pid, fd) == 0 for pid, fd in candidates):
                        out.append(_nobody(watch, d))
            except (FileNotFoundError, ProcessLookupError, KernelError):
                continue  # the task goes on: what it has when it is frozen counts
        return out

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def _is_there(watch: Watch, d: Descriptor) -> bool:
    """Has the task that file at that number?"""
    try:
        return watch.order(d, d.pid, watch.tfd) == 0
    except KernelError:  # EBADF: it is closed
        return False


def _inodes(pids: set[int]) -> dict[int, list[tuple[int, int]]]:
    """(pid, fd) of all descriptors by inode."""
    out: dict[int, list[tuple[int, int]]] = {}
    for pid in sorted(pids):
        try:
            for fd in proc.fds(pid):
                out.setdefault(os.stat(f"/proc/{pid}/fd/{fd}").st_ino, []).append((pid, fd))
        except OSError:
            continue
    return out


def _nobody(watch: Watch, d: Descriptor) -> str:
    major, minor = watch.dev >> 20, watch.dev & 0xFFFFF
    what = f"what it watches as number {watch.tfd} (inode {watch.ino} of device {major}:{minor})"
    return (
        f"{d}: {what} is open nowhere in the tree any more: dump whoever has it together, or remove it from the epoll "
        "(EPOLL_CTL_DEL) before it is closed"
    )


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Make it anew, watching nothing yet."""
    if not entry.HasField("epfd"):
        raise BadImage(opener.image, 0, f"file {entry.id:#x} is an epoll without an eventpoll_file_entry")
    epfd = entry.epfd
    fd = events.epoll()
    if epfd.busy_poll_usecs or epfd.busy_poll_budget or epfd.prefer_busy_poll:
        params = _PARAMS.pack(epfd.busy_poll_usecs, epfd.busy_poll_budget, epfd.prefer_busy_poll)
        try:
            events.epoll_set_params(fd, params)
        except KernelError:
            os.close(fd)
            raise
    return fd


def needs(entry: Any, holder: TaskImages) -> list[tuple[Any, int, int]]:
    """(eventpoll_tfd_entry, file id, number) of all that it watches; `holder` is the first task that has it."""
    numbers = {fd.fd: fd.id for fd in holder.fdinfo}
    out = []
    for tfd in entry.epfd.tfd:
        ident = tfd.file or numbers.get(tfd.tfd)
        if not ident:
            what = f"epoll {entry.id:#x} watches number {tfd.tfd}, at which pid {holder.pid} has no file; dump again"
            raise BadImage("files.img", 0, what)
        out.append((tfd, ident, tfd.number if tfd.HasField("number") else tfd.tfd))
    return out


def plan_watches(
    program: Program, entry: Any, fd: int, wanted: list[tuple[Any, int, int]], files: Borrowed, opener: Opener
) -> None:
    """Register all, in a task that has the epoll at `fd`: those that have fired first, while there is nothing else."""
    note = f"epoll {entry.id:#x}"
    wanted = sorted(wanted, key=lambda item: not _has_fired(item[0].events))
    for tfd, ident, number in wanted:
        with files.at(ident, number):
            event = _event(program, tfd.events, tfd.data)
            program.sys("epoll_ctl", fd, _CTL_ADD, number, event, note=note)
            if _has_fired(tfd.events):
                with files.woken(number) if _is_empty_pipe(opener, ident) else nullcontext():
                    _fire(program, tfd, fd, number)


def _has_fired(mask: int) -> bool:
    return bool(mask & _ONESHOT) and not mask & ~_PRIVATE


def _is_empty_pipe(opener: Opener, ident: int) -> bool:
    """Is it the reading end of a pipe in which nothing waits?"""
    entry = opener.files[ident]
    if not entry.HasField("pipe") or entry.pipe.flags & os.O_ACCMODE != os.O_RDONLY:
        return False
    contents = opener.images.read_spans("PIPES_DATA") if opener.images.exists("PIPES_DATA") else ()
    return not any(data.bytes for data, _, _ in contents if data.pipe_id == entry.pipe.pipe_id)


def _fire(program: Program, tfd: Any, fd: int, number: int) -> None:
    """Let it fire, if it is ready for anything: only that leaves it without errors and hang-ups, which ADD and MOD add.

    What is ready for nothing keeps these two: of what there is here only sockets ever have them to tell.
    The result of poll(2) is what is done then: EPOLL_CTL_MOD, or nothing that there is (EINVAL).
    """
    polled = program.arena.put(_POLLFD.pack(number, _ALL, 0) * _POLLED)
    ready = program.sys("ppoll", polled, _POLLED, program.arena.reserve(16), 0, _SIGSET_BYTES)
    program.ask("epoll_ctl", fd, ready, number, _event(program, tfd.events | _ALL, tfd.data), note="as if to be fired")
    program.sys("epoll_pwait", fd, program.arena.reserve(16), 1, 0, 0, _SIGSET_BYTES, note="has fired")


def _event(program: Program, mask: int, data: int) -> int:
    """struct epoll_event, packed on x86-64 alone."""
    layout = "<IQ" if program.arena.machine.name == "x86_64" else "<I4xQ"
    return program.arena.put(struct.pack(layout, mask, data))
