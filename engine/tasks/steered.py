"""Threads of processes in user namespaces below the root task's (setns(2), user_namespaces(7)).

A process can enter one while it has a single thread, so threads are made in there, where nobody may choose their
numbers: that takes capabilities in the user namespace that owns the pid namespace (clone(2), set_tid). In a pid
namespace of the tree's the opener makes each number the next one there is (owned.py). On the host the coordinator does
(/proc/sys/kernel/ns_last_pid), and as others are born there, a thread that gets another number ends, and is made once
more. There they are made from the last to the first: who else is born meanwhile gets a number behind all of them.
"""

from __future__ import annotations

import struct

from engine.plan import abi
from engine.tasks import creds, entering, sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.plan.program import Program
    from engine.tasks.compile import Compiler
    from engine.tasks.images import TaskImages
    from engine.tasks.runners import Runner

_CLONE_PARENT_SETTID, _CLONE_CHILD_CLEARTID = 0x00100000, 0x00200000
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)


class Steered:
    """One such process: what it and its threads do otherwise than others, and words to wait for the coordinator by."""

    __slots__ = ("_compiler", "_inherited", "_task", "_turns", "done", "words")

    def __init__(self, c: Compiler, task: TaskImages) -> None:
        self._compiler = c
        self._task = task
        self._inherited = sched.Inherited.of(task.core.thread_core, c.inherited)
        self._turns = "pid" in c.tree.namespaces or bool(task.tree.ns_ids)
        self.words = c.arena.reserve(abi.STEER.size)
        self.done = c.arena.reserve(4)  # all of its threads are there
        if not self._turns:
            c.plan.steered.append(self)

    def order(self, threads: list[tuple[int, Any]]) -> list[tuple[int, tuple[int, Any]]]:
        """In which threads are made, with their places: on the host the last comes first."""
        its = list(enumerate(threads))
        return its if self._turns else its[::-1]

    def sort(self, runners: list[Runner]) -> None:
        """Back into their places."""
        if not self._turns:
            runners.reverse()

    def enter(self, program: Program, space: int) -> None:
        """In the process's program, when nothing is left that takes capabilities outside."""
        c, core = self._compiler, self._task.core
        sched.plan(program, core.thread_core, c.inherited, c.warn)
        if born := entering.born_as(c, self._task.pid):
            creds.change(program, core.thread_core.creds, born)
        else:
            creds.become(program, core.thread_core.creds, c.creds)
        creds.enter(program, space)

    def spawn(self, program: Program, child: Program, tid: int, flags: int) -> None:
        """Start one thread."""
        c = self._compiler
        if self._turns:
            numbers, user = c.tree.numbers, self._task.namespace("user")
            shared = c.tree.exists("pid", c.tree.namespaces.get("pid", 0))  # else nobody could be faster
            spaces = numbers.space(self._task.pid)
            entering.clone(
                c, program, child, flags, numbers.tids(tid), f"tid {tid}", spaces=spaces, user=user, stays=shared
            )
            return
        arena, alive = program.arena, self.words + abi.STEER.offset["alive"]
        flags |= _CLONE_PARENT_SETTID | _CLONE_CHILD_CLEARTID
        stack = arena.stack() - abi.STACK_SIZE
        args = _CLONE_ARGS.pack(flags, 0, alive, alive, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        program.steer(arena.put(args), len(args), child, tid, self.words, c.plan.arrivals, f"tid {tid}")
        child.be(tid)

    def close(self, program: Program) -> None:
        """They are all there."""
        if not self._turns:
            program.add(self.done, 1)
            program.add(self._compiler.plan.arrivals, 1)

    def own(self, program: Program, core: Any, made: Callable[[], None] | None) -> None:
        """How a thread is scheduled, unless as the process is, and who it is. What is `made` is made by the process."""
        c, task = self._compiler, self._task
        if core is not task.core:
            sched.plan(program, core.thread_core, self._inherited, c.warn)
            if c.owned:
                creds.change(program, core.thread_core.creds, c.owned.inside(task))
        elif made:
            made()
        creds.give_up(program, core, creds.all_capabilities())


def blocker(task: TaskImages) -> str:
    """Why the threads of a process in such a user namespace cannot be made; "" if they can."""
    if not task.threads:
        return ""
    if task.leader_gone:
        return "has threads without the first one"
    if task.for_children("pid") is not None:
        return "has several threads, and children to come in another pid namespace"
    return ""
