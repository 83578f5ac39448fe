"""What a frozen task's io_urings (io_uring(7)) answer to the task itself: some to nobody else."""

from __future__ import annotations

import errno
import os

from engine.errors import Unsupported
from engine.kernel import proc, uring
from engine.plan.program import Arena, place
from engine.tasks import compat
from engine.tasks.inject import Graft, Questionnaire, injected
from engine.tasks.questions import Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from engine.context import Context
    from engine.files.scope import Scope
    from engine.plan.program import Ref
    from engine.tasks.collect import Collected, CollectedThread
    from engine.tasks.questions import Answers

_ROOM = 32 << 10  # bytes of questions, for each ring, and for all threads
_REGISTERED = 16  # rings that a thread may have without descriptors (IORING_REGISTER_RING_FDS)
_GROUPS = 64  # of provided buffers: those that are looked for
_GROUP = 40  # bytes of struct io_uring_buf_status


def visit(ctx: Context, task: Collected, numbers: list[int], scope: Scope) -> None:
    """Ask all of a task's rings, which are the descriptors `numbers`. Unsupported for what they cannot tell."""
    view = task.view
    told = _ask_threads(
        ctx, task, len(numbers) + 2, lambda q: (_ask_registered(q), {fd: _ask(q, fd) for fd in numbers}), None
    )
    out = []
    slots: dict[int, list[int]] = {}
    busy = set()
    for thread, (registered, rings), answers in told:
        if used := [slot for slot, ref in enumerate(registered) if answers.result(ref) in (0, -errno.EBADFD)]:
            slots[thread.tid] = used
        for fd, (calls, groups) in rings.items():
            its = {code: -min(answers.result(ref), 0) for code, ref in calls.items()}
            scope.rings.setdefault((view, fd), {})[thread.tid] = its
            busy.update([fd] if its[uring.EVENTFD] == errno.EBUSY else [])
            if used := _groups({group: answers.result(ref) for group, ref in groups.items()}):
                what = f"fd {fd} (io_uring): has groups {used} of buffers provided: not supported yet"
                out.append(f"{what}; remove them before the dump")
    if out:
        raise Unsupported([f"pid {task.pid}: {line}" for line in dict.fromkeys(out)])
    if slots:
        _identify(ctx, task, [fd for fd in numbers if fd not in busy], slots)


def _identify(ctx: Context, task: Collected, numbers: list[int], slots: dict[int, list[int]]) -> None:
    """Which rings the threads have registered, as thread_core_entry.rings. Unsupported for one without a descriptor.

    Each of the rings gets an eventfd for a moment: by which slot it has one then tells. None of `numbers` has any; the
    program runs to its end though we be killed.
    """
    spare = max(proc.fds(task.view)) + 2
    told = _ask_threads(ctx, task, len(numbers) + 1, lambda q: _ask_which(q, numbers, spare), slots)
    for thread, which, answers in told:
        for slot in slots.get(thread.tid, []):
            found = [fd for fd, refs in which.items() if answers.result(refs[slot]) == -errno.EBUSY]
            if not found:
                raise Unsupported([f"pid {task.pid}: {refusal(thread.tid)}"])
            thread.core.thread_core.rings.add(slot=slot, fd=found[0])


def _ask_threads(
    ctx: Context, task: Collected, rings: int, ask: Callable[[Questions], Any], tids: Container[int] | None
) -> list[tuple[CollectedThread, Any, Answers]]:
    """Have the first thread answer, and of the others those in `tids`, or all: who, what `ask` returned, answers."""
    arena = Arena(ctx.machine, place([(v.start, v.end) for v in task.vmas], _ROOM * rings, compat.is_small(task.vmas)))
    q, other = Questions(arena, f"questions to the rings of {task.pid}"), Questions(arena, "those of a thread")
    asked, asked_other = ask(q), ask(other)
    first = task.live[0]
    graft = Graft(task.view, task.vmas, Questionnaire(arena, q.done(), other.done()))
    with injected(ctx.arch, task.task.first, graft, first.regs, first.mask) as parasite:
        parasite.run()
        told = [(first, asked, q.answers(parasite.memory))]
        for thread, tracee in zip(task.live[1:], task.task.tracees[1:], strict=True):
            if tids is None or thread.tid in tids:
                parasite.visit(tracee, thread.regs, thread.mask)
                told.append((thread, asked_other, other.answers(parasite.memory)))
    return told


def _ask_which(q: Questions, numbers: list[int], spare: int) -> dict[int, list[Ref]]:
    """By descriptor of a ring: what each slot answers while that has an eventfd."""
    made = q.ask("eventfd2", 0, os.O_CLOEXEC)
    q.ask("dup3", made, spare, os.O_CLOEXEC)
    q.ask("close", made)
    event = q.arena.put(spare.to_bytes(4, "little"))
    out = {}
    for fd in numbers:
        q.ask("io_uring_register", fd, uring.EVENTFD, event, 1)
        code = uring.EVENTFD | uring.USE_REGISTERED_RING
        out[fd] = [q.ask("io_uring_register", slot, code, uring.NOWHERE, 1) for slot in range(_REGISTERED)]
        q.ask("io_uring_register", fd, uring.UNREGISTER_EVENTFD, 0, 0)
    q.ask("close", spare)
    return out


def refusal(tid: int) -> str:
    """Why a thread cannot be dumped that has rings registered whose descriptors are closed."""
    what = f"thread {tid} has a ring whose descriptor is closed (IORING_REGISTER_RING_FDS)"
    return f"{what}: not supported yet; keep that open, or unregister the ring before the dump"


def _groups(results: dict[int, int]) -> list[int]:
    """Those that are there; of buffers without a ring the answer is EINVAL, as it always is before Linux 6.8."""
    if set(results.values()) == {-errno.EINVAL}:
        return []
    return [group for group, result in results.items() if result in (0, -errno.EINVAL)]


def _ask_registered(q: Questions) -> list[Ref]:
    return [q.ask("io_uring_enter", i, 0, 0, uring.ENTER_REGISTERED_RING, 0, 0) for i in range(_REGISTERED)]


def _ask(q: Questions, fd: int) -> tuple[dict[int, Ref], dict[int, Ref]]:
    calls = {-1: q.ask("io_uring_enter", fd, 0, 0, 0, 0, 0)}
    for code, (what, count) in uring.QUESTIONS.items():
        calls[code] = q.ask("io_uring_register", fd, code, what, count)
    groups = {}
    for group in range(_GROUPS):
        room = q.arena.put(group.to_bytes(4, "little") + bytes(_GROUP - 4))
        groups[group] = q.ask("io_uring_register", fd, uring.PBUF_STATUS, room, 1)
    return calls, groups
