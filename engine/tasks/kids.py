"""Children that have ended, or are stopped, when the rest of a task is made (wait(2)); how they come to that."""

from __future__ import annotations

from engine.kernel.uapi.signal import SIGCHLD
from engine.tasks import creds, entering, identity, signals, timers
from engine.tasks.births import SIBLING
from engine.tasks.images import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.plan.program import Program
    from engine.tasks.births import Node
    from engine.tasks.compile import Compiler
    from engine.tasks.images import TaskImages

_P_PID, _WSTOPPED, _WEXITED, _WNOWAIT, _WALL = 1, 2, 4, 0x01000000, 0x40000000
_SIG_UNBLOCK = 1


def plan(c: Compiler, node: Node, program: Program) -> None:
    """Dead and stopped children have to be so by now: what tells of it must not be found in the restored queue."""
    told = set()
    if others := sum(kid.how == SIBLING for kid in node.kids):
        program.wait(c.arrivals(node), others)
    for kid in (kid for kid in node.kids if kid.dead):
        if kid.helper:
            program.sys("wait4", program.called(kid.pid), 0, _WALL, 0, note="a helper")
        else:
            if kid.pid in c.inits and (sig := c.tasks[kid.pid].core.tc.exit_code & 0x7F):
                program.wait(c.inits[kid.pid], 2)
                program.sys("kill", program.called(kid.pid), sig, note="what it sends itself does not end it")
            pid = program.called(kid.pid)
            program.sys("waitid", _P_PID, pid, 0, _WEXITED | _WNOWAIT | _WALL, 0, note="a zombie")
        program.add(c.ended, 1)
        told.add(kid.exit_signal)
    for kid in (kid for kid in node.kids if not kid.dead):
        tc = c.tasks[kid.pid].core.tc
        if tc.task_state == STOPPED:
            keep = 0 if tc.stop_seen else _WNOWAIT
            pid = program.called(kid.pid)
            program.sys("waitid", _P_PID, pid, 0, _WSTOPPED | keep | _WALL, 0, note="stopped")
            told.add(SIGCHLD)
    told.update(kid.exit_signal for kid in node.bears if c.enters(kid))  # so were those that have started them
    default = c.arena.reserve(32)
    for sig in sorted(told - {0}):
        if sig != SIGCHLD:  # whose default is to be ignored
            ignore = c.arena.put((1).to_bytes(32, "little"))
            program.sys("rt_sigaction", sig, ignore, 0, 8)
        program.sys("rt_sigaction", sig, default, 0, 8, note="drops what these children's ends have queued")


def die(c: Compiler, node: Node, program: Program) -> None:
    """A zombie, or a helper: it ends when nobody needs it any more, by its signal or with its status."""
    c.descriptors.ends(program, node)
    program.wait(c.joined, c.joiners)
    code = 0
    if not node.helper:
        core = c.tasks[node.pid].core
        code = core.tc.exit_code
        identity.plan_name(program, core.tc.comm)
        if core.HasField("thread_core"):  # CRIU does not keep whose child it was
            creds.plan(program, core, c.creds, born=entering.born_as(c, node.pid))
    if sig := code & 0x7F:
        program.sys("prlimit64", 0, 4, c.arena.put(bytes(16)), 0, note="no core dump")
        program.sys("rt_sigprocmask", _SIG_UNBLOCK, c.arena.put((1 << sig - 1).to_bytes(8, "little")), 0, 8)
        if node.pid in c.inits:  # which only others can kill
            program.add(c.inits[node.pid], 1)
            program.park()
            return
        program.sys("kill", program.called(node.pid), sig)
    program.sys("exit_group", code >> 8)
    program.park()


def react(c: Compiler, task: TaskImages, program: Program, ready: int) -> None:
    """What it is told by signals: of its children, and by timers, when all of its threads are there."""
    plan(c, task.node, program)
    if c.owns("sighand", task.node):
        signals.plan_actions(program, task.core, c.ignored)
    if ready:
        program.add(ready, 1)
    timers.plan(program, task.core, [other for _, other in task.threads])
