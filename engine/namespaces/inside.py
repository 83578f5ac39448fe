"""The opener as a process of its own, inside of the namespaces of the tree that is restored.

It is a copy of the engine (fork(2)), so it has all that was read and compiled. It builds what the namespaces hold and
opens all files under the numbers that were promised; tasks take theirs from it with pidfd_getfd(2). It ends before the
tree is let go, or when the engine does.
"""

from __future__ import annotations

import errno
import os
import struct
import traceback
from functools import partial
from importlib import import_module

from engine.blocks import suppress
from engine.errors import Bug, EngineError, KernelError
from engine.kernel import files, namespaces, proc, process
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGCONT, SIGKILL, SIGSTOP
from engine.namespaces import modules
from engine.namespaces.table import MOUNTS, module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.mounts.restore import Builder
    from engine.tasks.opener import Opener
    from engine.tasks.owned import Turn

    Exists = Callable[[str, int], bool]

_OK, _FAILED, _BUG = b"o", b"f", b"b"
_RESIZE = b"r"
_COMMAND = struct.Struct("<ci")
_SETTLE, _CHOOSE, _MOUNT = b"s", b"c", b"m"
_LAST_PID = "/proc/sys/kernel/ns_last_pid"  # of the namespace of whoever writes it (proc_sys_kernel(5))
# What functions import that are called when files are out of sight; the engine's own modules are kept within reach.
_LATER = ("fcntl", "mmap", "select", "stat", "struct")


class Inside:
    """The coordinator's end of it."""

    __slots__ = ("_commands", "_pid", "_replies", "seen")

    def __init__(
        self,
        ctx: Context,
        images: Images,
        opener: Opener,
        kinds: Mapping[str, int],
        nested: Mapping[tuple[str, int], int],
        root: int,
        pid: int,
        exists: Exists,
    ) -> None:
        """Enter the namespaces of task `root`, of which `kinds` are the tree's own, with `pid` in its pid namespace.

        Of further ones `nested` has descriptors. Those that `exists` have been there before, and are left as they are.
        EngineError for whatever cannot be made there.
        """
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._commands)
            os.close(self._replies)
            _run(replies, lambda: _enter(ctx, images, opener, kinds, nested, root, pid, exists, commands, replies))
        os.close(commands)
        os.close(replies)
        self.seen = int(self._answer())  # its pid, as the tree sees it

    def choose(self, turn: int) -> None:
        """The next process that is born is to be the one of that turn, of those of the opener."""
        self._ask(_CHOOSE, turn)

    def mount(self) -> None:
        """The first processes of pid namespaces are there: what had to wait for these is mounted, and opened."""
        self._ask(_MOUNT)

    def _ask(self, what: bytes, argument: int = 0) -> None:
        os.write(self._commands, _COMMAND.pack(what, argument))
        self._answer()

    def settle(self) -> None:
        """The tasks have taken and mapped what is theirs: it does what had to wait for that, and ends."""
        self._ask(_SETTLE)
        self._end()  # by itself: an orphan would go to the restored root task

    def close(self) -> None:
        """End it, if it has not: the process inside first, so that the one outside waits for it and no other has to."""
        if not self._pid:
            return
        os.kill(self._pid, SIGSTOP)
        if not os.WIFSTOPPED(os.waitpid(self._pid, os.WUNTRACED)[1]):
            self._pid = 0  # somebody has killed it; the one inside dies of that, and comes to us
            return
        inside = proc.children(self._pid)
        for pid in inside or [self._pid]:
            os.kill(pid, SIGKILL)
        os.kill(self._pid, SIGCONT)
        self._end()

    def _end(self) -> None:
        os.close(self._commands)
        os.close(self._replies)
        process.wait_exit(self._pid)
        self._pid = 0

    def _answer(self) -> str:
        while (said := self._read())[0] == _RESIZE:
            os.write(self._commands, _COMMAND.pack(_RESIZE, _resize(*map(int, said[1].split()))))
        what, message = said
        if what == _FAILED:
            raise EngineError(message)
        if what != _OK:
            raise Bug(f"the opener: {message or 'has ended'}")
        return message

    def _read(self) -> tuple[bytes, str]:
        text = b""
        while not text.endswith(b"\0") and (part := os.read(self._replies, 1 << 16)):
            text += part
        return text[:1], os.fsdecode(text[1:-1])


def _resize(pid: int, number: int, size: int) -> int:
    """Resize a pipe of the process inside, for which the limits of its user do not hold; 0 or the errno."""
    fds: list[int] = []
    try:
        fds.append(process.pidfd_open(pid))
        fds.append(process.pidfd_getfd(fds[0], number))
        files.resize_pipe(fds[1], size)
    except (OSError, KernelError) as e:
        return e.errno or errno.EIO
    finally:
        for fd in fds:
            os.close(fd)
    return 0


def _ask_resize(commands: int, replies: int, outer: int, fd: int, size: int) -> None:
    """The same, as the process inside asks for it; `outer` is a procfs where it is called what it is outside."""
    try:
        files.resize_pipe(fd, size)
    except PermissionError:
        _reply(replies, _RESIZE, f"{os.readlink('self', dir_fd=outer)} {fd} {size}")
        if error := _COMMAND.unpack(os.read(commands, _COMMAND.size))[1]:
            raise OSError(error, os.strerror(error)) from None


def _run(replies: int, work: Callable[[], None]) -> None:
    """What a forked process does, until its end."""
    try:
        try:
            work()
        except EngineError as e:
            _reply(replies, _FAILED, str(e))
        except BaseException:  # told to the coordinator, which ends
            _reply(replies, _BUG, traceback.format_exc())
    finally:
        os._exit(0)


def _reply(replies: int, what: bytes, message: str = "") -> None:
    data = what + os.fsencode(message) + b"\0"
    while data:
        data = data[os.write(replies, data) :]


def _enter(
    ctx: Context,
    images: Images,
    opener: Opener,
    kinds: Mapping[str, int],
    nested: Mapping[tuple[str, int], int],
    root: int,
    pid: int,
    exists: Exists,
    commands: int,
    replies: int,
) -> None:
    process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
    for name in _LATER:
        import_module(name)
    modules.keep()
    if "user" in kinds:
        outer = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        opener.resize = partial(_ask_resize, commands, replies, outer)
    last_pid = os.open(_LAST_PID, os.O_WRONLY | os.O_CLOEXEC) if opener.proxies or opener.turns else -1
    target = process.pidfd_open(root)
    _outside(ctx, images, kinds, nested, root, exists, replies)
    if "user" in kinds:
        from engine.namespaces import user

        there = exists("user", kinds["user"])
        ids = user.Ids.of_task(root) if there else user.Ids.of_entry(user.check(images, kinds["user"]))
        opener.prepare(ids)
    peers = None
    idents: list[int] = []
    if MOUNTS in kinds and not exists(MOUNTS, kinds[MOUNTS]):
        from engine.mounts import peers as mnt_peers

        idents = [kinds[MOUNTS], *(ident for kind, ident in opener.nested if kind == MOUNTS)]
        peers = mnt_peers.start(ctx, images, idents)
    # mounts of cgroups are made by who sees all of them
    cgroups = _open("cgroup", root) if "cgroup" in kinds and "user" not in kinds else -1
    later = ("time", "cgroup") if cgroups >= 0 else ("time",)
    if flags := sum(namespaces.FLAGS[kind] for kind in kinds if kind not in later):
        namespaces.setns(target, flags)
    os.close(target)
    build = None
    if MOUNTS in kinds and not exists(MOUNTS, kinds[MOUNTS]):
        from engine.mounts import restore

        build = restore.prepare(ctx, images, idents, kinds[MOUNTS], peers)
        build.files, build.detached = opener.on_mounts(), opener.on_no_mounts()
    if "user" in kinds:
        with suppress(PermissionError):  # it may be denied there for ever (/proc/PID/setgroups)
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
    child = _fork(pid, "pid" in kinds and exists("pid", kinds["pid"]))
    if child:
        if peers:
            peers.close()
        os.waitpid(child, 0)
        if peers:
            os.waitpid(peers.pid, 0)
        return
    _run(
        replies, lambda: _work(ctx, images, opener, kinds, nested, build, cgroups, exists, commands, replies, last_pid)
    )


def _fork(pid: int, is_shared: bool) -> int:
    """fork(2) with a pid (0: any) in the pid namespace; where others are in that too, any above it is as good."""
    while True:
        try:
            return namespaces.fork([pid] if pid else ())
        except KernelError as e:
            if not is_shared or e.errno != errno.EEXIST:
                raise
        pid += 1


def _outside(
    ctx: Context,
    images: Images,
    kinds: Mapping[str, int],
    nested: Mapping[tuple[str, int], int],
    root: int,
    exists: Exists,
    replies: int,
) -> None:
    """What takes capabilities of the engine's own user namespace, in the others."""
    held = {
        (kind, ident): _open(kind, root) for kind, ident in kinds.items() if hasattr(module(kind), "restore_outside")
    }
    held.update((key, fd) for key, fd in nested.items() if hasattr(module(key[0]), "restore_outside"))
    there = [ident for kind, ident in held if exists(kind, ident)]
    if len(there) == len(held):
        return
    child = os.fork()
    if child:
        for key in held.keys() - nested.keys():
            os.close(held[key])
        if os.waitpid(child, 0)[1]:
            raise EngineError("the namespaces could not be prepared")
        return
    status = 1
    try:
        for kind in {kind for kind, _ in held}:
            outside: Any = module(kind)
            its_own = {ident: fd for (its, ident), fd in held.items() if its == kind}
            outside.restore_outside(ctx, images, its_own, there)
        status = 0
    except EngineError as e:
        _reply(replies, _FAILED, str(e))
    except BaseException:
        _reply(replies, _BUG, traceback.format_exc())
    finally:
        os._exit(status)


def _work(
    ctx: Context,
    images: Images,
    opener: Opener,
    kinds: Mapping[str, int],
    nested: Mapping[tuple[str, int], int],
    build: Builder | None,
    cgroups: int,
    exists: Exists,
    commands: int,
    replies: int,
    last_pid: int,
) -> None:
    process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
    process.prctl(pr.PR_SET_DUMPABLE, 1)  # who has changed its ids is not, and nobody could take files from it
    own = {(kind, ident): _open(kind) for kind, ident in opener.namespaces.items()}
    if cgroups >= 0:
        os.close(own["cgroup", kinds["cgroup"]])
        own["cgroup", kinds["cgroup"]] = cgroups
    opener.entered = {**own, **nested}
    for kind, ident in kinds.items():
        its: Any = module(kind)
        if hasattr(its, "restore") and not exists(kind, ident):
            its.restore(ctx, images, ident)
    for (kind, ident), fd in nested.items():
        if exists(kind, ident):
            continue
        its = module(kind)
        if not hasattr(its, "restore"):
            continue
        namespaces.setns(fd, namespaces.FLAGS[kind])
        its.restore(ctx, images, ident)
        namespaces.setns(own[kind, opener.namespaces[kind]], namespaces.FLAGS[kind])
    if build:
        build.namespaces, build.owners, build.spaces = opener.entered, opener.owners, opener.spaces
        opener.mounts = build.restore()
        if not build.waiting:
            build.close()
        opener.entered.update(((MOUNTS, ident), fd) for ident, fd in opener.mounts.namespaces.items())
    if cgroups >= 0:
        namespaces.setns(cgroups, namespaces.FLAGS["cgroup"])
    opener.open_all()
    proxies = []
    if opener.proxies:
        from engine.namespaces import proxy

        proxies = proxy.start(opener)
    _reply(replies, _OK, str(os.getpid()))
    while command := os.read(commands, _COMMAND.size):
        what, argument = _COMMAND.unpack(command)
        if what == _CHOOSE:
            _choose(opener.turns[argument], last_pid)
        elif what == _MOUNT and build:
            build.complete(opener.shown)
            build.close()
            opener.open_waiting()
        else:
            opener.settle()
            for end in proxies:
                end()
            for job in opener.mounts.at_end if opener.mounts else ():
                job()
        _reply(replies, _OK)


def _choose(turn: Turn, last_pid: int) -> None:
    """The next birth in a pid namespace is to have a pid: one of each namespace has to say so, there."""
    for pid, first, names in turn.levels:
        say = partial(_say, last_pid, pid)
        if first:
            from engine.namespaces.errand import in_pid_namespace

            in_pid_namespace(first, names, say, f"ns_last_pid of {first}")
        else:
            say()


def _say(last_pid: int, pid: int) -> list[int]:
    os.pwrite(last_pid, str(pid - 1).encode(), 0)
    return []


def _open(kind: str, pid: int | str = "self") -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
