"""A tree as text, in sections, and what differs between two of them."""

import difflib
from dataclasses import dataclass

from zdtm.observe import fds, maps, mounts, registers, task
from zdtm.observe.proc import inner_pid, read, stat, status_lines, threads, tree

# What a case may say that it changes itself while it is looked at (key `ignore` of its header).
IGNORABLE = {
    "positions": "it goes on reading or writing",
    "descriptors": "it opens and closes files",
    "children": "its own come and go: only it and what is above it are looked at",
    "sigterm": "it blocks the signal that ends it, until it waits for it",
    "cgroup": "it is to be in other cgroups afterwards",
    "threads": "its threads come and go, their stacks with them: of each process only the leader is looked at",
}
REGISTERS = " registers"


@dataclass(frozen=True)
class Snapshot:
    """Sections by name: a task or thread (by its own pid) and what the lines are about."""

    sections: dict[str, tuple[str, ...]]

    def text(self) -> str:
        """All of it, for the artefacts."""
        return "".join(f"[{name}]\n" + "".join(f"{x}\n" for x in part) for name, part in self.sections.items())


def take(root: int, private_mounts: bool, ignore: frozenset[str]) -> Snapshot:
    """Look at a task and its descendants. Raises OSError when one of them ends meanwhile."""
    tasks = tree(root)
    if "children" in ignore:  # the first that init has made, or the test itself
        tasks = tasks[: 2 if private_mounts else 1]
    sections: dict[str, tuple[str, ...]] = {}
    nameless: dict[str, str] = {}
    # what has no name is counted in this order, which is not that of their births: these may come otherwise again
    for pid in sorted(tasks, key=inner_pid):
        name = f"task {inner_pid(pid)}"
        lasting = [pid] if "threads" in ignore else threads(pid)
        live = [tid for tid in lasting if stat(tid)[3] not in "ZX"]
        sections[f"{name} parent"] = (task.parent(pid, tasks),)
        if live:
            # through a thread that is there: the leader may have ended before the others
            view = live[0]
            sections[f"{name} identity"] = tuple(task.identity(view))
            sections[f"{name} state"] = tuple(task.state(view, ignore))
            points = mounts.points(view)
            if "descriptors" not in ignore:
                sections[f"{name} fds"] = tuple(
                    fds.describe(view, points, "positions" not in ignore, nameless, private_mounts)
                )
            if "threads" not in ignore:
                sections[f"{name} maps"] = tuple(maps.describe(view, private_mounts))
        if live and private_mounts:
            sections[f"{name} mounts"] = tuple(mounts.describe(view))
        for tid in lasting:
            thread = f"{name} thread {status_lines(read(pid, f'task/{tid}/status'))['NSpid'].split()[-1]}"
            sections[thread] = tuple(task.thread(pid, tid, ignore))
            if registers.parked(pid, tid):
                sections[thread + REGISTERS] = tuple(registers.describe(tid))
    return Snapshot(sections)


def difference(before: Snapshot, after: Snapshot) -> str:
    """A unified diff by section; empty when nothing differs.

    Registers are compared where a thread was parked before: one that slept in another call may have gone on.
    """
    lines: list[str] = []
    for name in dict.fromkeys((*before.sections, *after.sections)):
        if name.endswith(REGISTERS) and name not in before.sections:
            continue
        was, now = before.sections.get(name, ()), after.sections.get(name, ())
        lines += difflib.unified_diff(was, now, f"{name}, before", f"{name}, after", n=0, lineterm="")
    return "\n".join(lines)
