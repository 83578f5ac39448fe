"""What a restore makes around the tree, seen from the coordinator: namespaces by the cradle, the opener inside."""

from __future__ import annotations

import errno
import os
import struct
import time

from engine.blocks import ExitStack, suppress
from engine.errors import EngineError, KernelError
from engine.kernel import proc, process
from engine.kernel.namespaces import within
from engine.kernel.pids import Pids
from engine.options import NETWORK_LOCKS
from engine.plan import abi
from engine.plan.program import poke, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.cradle import Cradle
    from engine.namespaces.inside import Inside
    from engine.network.lock import locked
    from engine.network.moved import Moved
    from engine.plan.program import Program, Ref
    from engine.tasks.cgroup_restore import Cgroups
    from engine.tasks.images import TreeImages
    from engine.tasks.opener import Opener
    from engine.tasks.owned import Turn
    from engine.tasks.runners import Plan


class Outside:
    """The namespaces of one restore. Where the tree has none of its own there is nothing of it."""

    __slots__ = (
        *(
            "_cgroups",
            "_ctx",
            "_images",
            "_inside",
            "_kinds",
            "_lock",
            "_locked",
            "_moved",
            "_nested",
            "_pids",
            "_plan",
        ),
        *("_root", "_tree", "_view", "_wait"),
    )

    def __init__(
        self,
        ctx: Context,
        images: Images,
        tree: TreeImages,
        plan: Plan,
        view: mmap.mmap,
        wait: Callable[[int, int], None],
        cgroups: Cgroups | None,
    ) -> None:
        """`wait(word, least)` waits for a word of the arena."""
        self._cgroups = cgroups
        self._ctx = ctx
        self._images = images
        self._kinds = tree.namespaces
        self._tree = tree
        self._plan = plan
        self._view = view
        self._wait = wait
        self._root = 0
        self._inside: Inside | None = None
        self._lock = ExitStack()  # of the network namespaces
        self._locked: locked | None = None
        self._moved: Moved | None = None
        self._nested: dict[tuple[str, int], int] = {}
        self._pids: dict[int, int] = {}

    def make(self, cradle_pid: int) -> int:
        """Have the cradle make them, and start the root task, whose pid is returned. It waits for `build`."""
        cradle = self._plan.cradle
        if cradle is None:
            return cradle_pid
        for step in range(1, cradle.steps + 1):
            self._wait(cradle.reached, step)
            if step == 1 and "user" in self._kinds:
                if "user" in cradle.kinds:
                    self._write_maps(cradle_pid)
                at = abi.HEAD.offset["prog"]
                self._view[at : at + len(cradle.head())] = cradle.head()
            if step in cradle.cgroups and self._cgroups:
                its = cradle.cgroups[step]
                if isinstance(its, tuple):
                    self._cgroups.enter_namespace(self._born(*its[1:]), its[0])
                else:
                    self._cgroups.enter_namespace(cradle_pid, its)
            if step == cradle.steps and "time" in cradle.kinds:
                self._write_offsets(cradle_pid, self._kinds["time"])
            if step in cradle.clocks:
                ident, program, ref = cradle.clocks[step]
                self._write_offsets(self._born(program, ref), ident)
            if step in cradle.maps:
                ident, program, ref = cradle.maps[step]
                self._write_nested_maps(self._born(program, ref), ident)
            if step == cradle.steps and cradle.nested:
                self._take(cradle, cradle_pid)
            self._post(cradle.go, step)
        self._wait(cradle.reached, cradle.steps + 1)
        self._root = result(self._view, self._plan.arena, cradle.program, cradle.born)
        if self._tree.existing:
            self._nested.update((key, os.dup(self._tree.existing.fds[key])) for key in self._tree.further())
        if not self._ctx.options.restore_sibling:
            process.wait_exit(cradle_pid)
        return self._root

    def _born(self, program: Program, ref: Ref) -> int:
        """The pid of a process that runs already, and whose creator may not have noted it yet."""
        while not (pid := result(self._view, self._plan.arena, program, ref)):
            time.sleep(0.0001)
        return pid

    def _take(self, cradle: Cradle, pid: int) -> None:
        """Descriptors of what the cradle has made besides."""
        pidfd = process.pidfd_open(pid)
        for key, (program, ref) in cradle.nested.items():
            fd = result(self._view, self._plan.arena, program, ref)
            self._nested[key] = process.pidfd_getfd(pidfd, fd)
        os.close(pidfd)

    def build(self, opener: Opener) -> None:
        """Fill the namespaces and open the files, from inside; then the root task may go on.

        Without namespaces the engine has opened them itself, before there was any task.
        """
        cradle = self._plan.cradle
        if cradle is None:
            return
        self._lock_network()
        self._note_devices()
        pid = opener.free_pid if "pid" in self._kinds else 0
        from engine.namespaces.inside import Inside  # few trees have any

        self._inside = Inside(
            self._ctx, self._images, opener, self._kinds, self._nested, self._root, pid, self._tree.exists
        )
        plan = self._plan
        poke(self._view, plan.arena, plan.root, plan.opened, 0, self._inside.seen)
        self._post(cradle.world, 1)

    def set_clocks(self, pid: int, ident: int, there: int, done: int) -> None:
        """Those of the time namespace that a task has made for its children."""
        self._wait(there, 1)
        self._write_offsets(self.outer(pid), ident)
        self._post(done, 1)

    def next_pid(self, pid: int) -> int:
        """Have the engine's own pid namespace give this number to whoever is born next. EngineError.

        Others are born there, too: the last number is returned that it had given out.
        """
        last = int(proc.read_text("/proc/sys/kernel/ns_last_pid"))
        process.set_last_pid(pid - 1)
        return last

    def mount(self) -> None:
        """The first processes of all pid namespaces whose procfs is mounted are there: these can be."""
        if self._inside:
            self._inside.mount()

    def choose(self, turn: Turn) -> None:
        """The next birth is to have the pids of this one."""
        if self._inside:
            self._inside.choose(self._plan.turns.index(turn))

    def outer(self, pid: int) -> int:
        """The pid by which the engine knows a process or thread of the tree. EngineError for one that is not there."""
        if "pid" not in self._kinds:
            return pid
        if pid not in self._pids:
            self._scan()
        if pid not in self._pids:
            raise EngineError(f"pid {pid} of the tree cannot be found")
        return self._pids[pid]

    def known(self) -> set[int]:
        """What the tree calls all tasks and threads that there are so far."""
        pids = Pids(self._root)
        out: set[int] = set()
        for pid in self.below():
            with suppress(FileNotFoundError, ProcessLookupError, KernelError):
                out.update(pids.inner(tid) for tid in process.scan(pid)[0])
        return out

    def below(self) -> list[int]:
        """The pids of all tasks that there are so far, as the engine sees them."""
        out = [self._root] if self._root else []
        for pid in out:
            with suppress(FileNotFoundError, ProcessLookupError, KernelError):
                out += process.scan(pid)[1]
        return out

    def _scan(self) -> None:
        pids = Pids(self._root)
        todo = [self._root]
        while todo:
            pid = todo.pop()
            try:
                tids, kids = process.scan(pid)
                for tid in tids:
                    self._pids[pids.inner(tid)] = tid
            except (FileNotFoundError, ProcessLookupError, KernelError):
                continue  # it has ended meanwhile
            todo += kids

    def settle(self, opener: Opener) -> None:
        """The tasks have taken what is theirs."""
        if self._inside:
            self._inside.settle()
        else:
            opener.settle()
        self._unlock_network()
        for fd in self._nested.values():
            os.close(fd)
        self._nested.clear()
        opener.close()  # an end of a pipe that we hold as well is not closed when the tasks close theirs

    def done(self) -> None:
        """The tree runs."""
        self._lock.close()

    def _note_devices(self) -> None:
        """Those that are moved into the tree's network namespaces come back if it fails."""
        names = self._ctx.options.externals.get("netdev", {})
        its = self._network_namespaces()
        if not names or not its:
            return
        from engine.network.moved import Moved

        self._moved = Moved(names, its.values())
        self._lock.callback(self._moved.close)

    def _network_namespaces(self) -> dict[int, str | int]:
        """Those that are made, by their numbers in the images: files or descriptors."""
        its = [(kind, ident) for kind, ident in (*self._kinds.items(), *self._nested) if kind == "net"]
        root = f"/proc/{self._root}/ns/net"
        return {
            ident: self._nested.get((kind, ident), root) for kind, ident in its if not self._tree.exists(kind, ident)
        }

    def _lock_network(self) -> None:
        """Until the tree is let go nothing comes to, or leaves, those of its network namespaces that lead outside."""
        method = self._tree.inventory.network_lock_method
        if method == NETWORK_LOCKS.index("skip") or "net" in self._ctx.options.empty_ns:
            return
        # a namespace with the loopback device alone leads nowhere
        wanted = [
            where
            for ident, where in self._network_namespaces().items()
            if self._images.exists("NETDEV", ident) and len(self._images.read("NETDEV", ident)) > 1
        ]
        if wanted:
            from engine.network.lock import locked

            self._locked = self._lock.enter_context(locked(self._ctx, wanted))

    def _unlock_network(self) -> None:
        """Those that were made, and what the dump has left locked of those that were there."""
        if self._locked:
            self._locked.unlock()
        there = (
            [fd for (kind, _), fd in self._tree.existing.fds.items() if kind == "net"] if self._tree.existing else []
        )
        if there:
            from engine.network.lock import remove

            for fd in there:
                with within(fd, "net"):
                    remove(self._tree.inventory)

    def close(self) -> None:
        """After a failure: end the opener, and give back what was moved in."""
        if self._inside:
            self._inside.close()
        try:
            if self._moved:
                self._moved.back()
        finally:
            self._lock.close()
            for fd in self._nested.values():
                os.close(fd)
            self._nested.clear()

    def _write_maps(self, pid: int) -> None:
        from engine.namespaces import user

        for name, text in user.maps(self._images, self._kinds["user"]):
            _write(f"/proc/{pid}/{name}", text)

    def _write_nested_maps(self, pid: int, ident: int) -> None:
        """By a process that is where the parent of that is (user_namespaces(7))."""
        child = os.fork()
        if child:
            if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                what = self._images.name("USERNS", ident)
                raise EngineError(f"cannot write the maps of {what} to /proc/{pid}/uid_map: {os.strerror(abs(status))}")
            return
        status = errno.EIO
        try:
            from engine.namespaces import user

            status = user.write_maps(self._images, pid, ident)
        finally:
            os._exit(status)

    def _write_offsets(self, pid: int, ident: int) -> None:
        from engine.namespaces import timens

        timens.write_offsets(pid, self._images, ident)

    def _post(self, word: int, value: int) -> None:
        at = self._plan.arena.offset(word)
        struct.pack_into("<I", self._view, at, value)
        process.futex_wake(self._view, at)


def _write(path: str, text: str) -> None:
    try:
        proc.write_text(path, text)
    except OSError as e:
        raise EngineError(f"cannot write {text!r} to {path}: {e.strerror}") from e
