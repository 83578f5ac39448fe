"""Errands of the opener: what has to be done by somebody in another user or pid namespace, whence nobody comes back."""

from __future__ import annotations

import os

from engine.blocks import suppress
from engine.errors import EngineError, KernelError
from engine.kernel import namespaces, process
from engine.kernel.namespaces import CLONE_FILES, FLAGS
from engine.mounts.reach import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def run(work: Callable[[], Iterable[int]], what: str, pids: Sequence[int] = ()) -> list[int]:
    """Have a process do it that shares its descriptors with this one, and ends; what it has opened. EngineError.

    `pids` are what it is called, the innermost namespace's first; where none is given it is any.
    """
    answers, answer = os.pipe()
    child = namespaces.fork(pids, CLONE_FILES)
    if not child:
        try:
            try:
                said = " ".join(("ok", *map(str, work())))
            except (EngineError, KernelError, OSError) as e:
                said = f"error {e}"
            send(answer, said)
        finally:
            os._exit(0)
    process.wait_exit(child)
    with suppress(OSError):  # it has closed that, which was this process's too
        os.close(answer)
    said = receive(answers)
    os.close(answers)
    if not said.startswith("ok"):
        raise EngineError(f"{what}: {said.removeprefix('error ') or 'who was to do it has ended'}")
    return [int(word) for word in said.split()[1:]]


def become_root() -> None:
    """Of the user namespace that was entered, if it has one."""
    with suppress(OSError):
        os.setgroups([])
    with suppress(OSError):
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def as_root(space: int, work: Callable[[], None], what: str) -> None:
    """Do something as root of a user namespace, by its descriptor."""

    def done() -> Iterable[int]:
        namespaces.setns(space, FLAGS["user"])
        become_root()
        work()
        return ()

    run(done, what)


def in_pid_namespace(first: int, pids: Sequence[int], work: Callable[[], Iterable[int]], what: str) -> list[int]:
    """`run` in the pid namespace of its first process, as that is called here."""
    own, pidfd = process.pidfd_open(os.getpid()), process.pidfd_open(first)  # there may be no /proc to be seen
    try:
        namespaces.setns(pidfd, FLAGS["pid"])
        try:
            return run(work, what, pids)
        finally:
            namespaces.setns(own, FLAGS["pid"])
    finally:
        os.close(pidfd)
        os.close(own)
