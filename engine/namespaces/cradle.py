"""The cradle: a task for a moment, which makes the namespaces that the root task of a tree begins in.

It stops after each step at a word of the arena, for what can only be written from outside (user_namespaces(7),
time_namespaces(7)). Who it starts has the coordinator for its parent.
"""

from __future__ import annotations

import os
import struct

from engine.kernel.namespaces import FLAGS
from engine.kernel.uapi import prctl as pr
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from engine.plan.program import Arena, Program, Ref

_ALL_FDS = 0xFFFFFFFF
_AT_FDCWD = -100 & 0xFFFFFFFFFFFFFFFF
_CLONE_PARENT, _CLONE_FILES = 0x8000, 0x400
_WALL = 0x40000000
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)
_NESTED = ("cgroup", "uts", "ipc", "net", "time", "user")
_OWNED = ("mnt", "cgroup", "uts", "ipc", "net")
_AT_EMPTY_PATH, _O_PATH = 0x1000, 0x200000


class Cradle:
    """Its program, and the words by which it and the coordinator wait for each other."""

    __slots__ = (
        *(
            "_born",
            "_groups",
            "_joined",
            "_stack",
            "_steps",
            "_users",
            "cgroups",
            "clocks",
            "first",
            "go",
            "kinds",
            "maps",
        ),
        *("nested", "program", "reached"),
        "world",
    )

    def __init__(
        self,
        arena: Arena,
        kinds: dict[str, int],
        nested: list[tuple[str, int]],
        root: Program,
        tids: list[int],
        joined: Mapping[str, int],
        coordinator: int,
        users: Mapping[int, Any],
        groups: list[int] | None,
    ) -> None:
        """`root` is the program of the first task, `tids` what it is called, inside first; `kinds` are its own.

        Of these `joined` are there already: descriptors that the coordinator has of them. `nested` are made besides:
        the results of these operations are descriptors of theirs. `users` are the userns_entry messages of those among
        them that are user namespaces. `groups` are to be had before its user namespace, which denies setgroups(2), is
        made. At the steps of `cgroups` who unshares has to be where a cgroup namespace begins.
        """
        self.cgroups: dict[int, tuple[int, Program, Ref] | int] = {}
        self.kinds = {kind: ident for kind, ident in kinds.items() if kind not in joined}
        self._joined = joined
        self.nested: dict[tuple[str, int], tuple[Program, Ref]] = {}
        self.reached, self.go, self.world = arena.reserve(4), arena.reserve(4), arena.reserve(4)
        self._steps = 0
        # at which step which nested namespace waits for its clocks or maps: who started the process that has made it
        self.clocks: dict[int, tuple[int, Program, Ref]] = {}
        self.maps: dict[int, tuple[int, Program, Ref]] = {}
        self._users = users
        self._groups = groups
        self.program = self.first = arena.program("cradle")
        self._stack = 0
        self._born = self._compile(arena, nested, root, tids, coordinator)

    def _compile(
        self, arena: Arena, nested: list[tuple[str, int]], root: Program, tids: list[int], coordinator: int
    ) -> Ref:
        if "user" in self.kinds or "user" in self._joined:
            self._enter_user_namespace(arena, coordinator)
        elif self._joined:
            self._join(self.program, coordinator)
        program = self.program
        program.sys("close_range", 0, _ALL_FDS, 0)
        if its := [key for key in nested if key[0] in _NESTED]:
            self._nest(arena, program, 0, [key for key in its if key[0] != "user"])
        flags = sum(FLAGS[kind] for kind in _OWNED if kind in self.kinds and kind != "cgroup")
        if flags:
            program.sys("unshare", flags, note=" ".join(kind for kind in _OWNED if kind in self.kinds))
        if "time" in self.kinds:
            program.sys("unshare", FLAGS["time"], note="a time namespace, for its child")
        self._step(program)
        if "cgroup" in self.kinds:
            self.cgroups[self._steps] = self.kinds["cgroup"]
            program.sys("unshare", FLAGS["cgroup"], note="a cgroup namespace, where it is now")
        # who is no longer in the pid namespace of the cradle is told its number there, and the other is any
        word = arena.put(struct.pack(f"<{len(tids)}i", *tids))
        stack = arena.stack() - abi.STACK_SIZE
        flags = _CLONE_PARENT | (FLAGS["pid"] if "pid" in self.kinds else 0)
        args = _CLONE_ARGS.pack(flags, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, word, len(tids), 0)
        born = program.spawn(arena.put(args), len(args), root, f"pid {tids[0]}")
        program.add(self.reached, 1)
        program.sys("exit_group", 0)
        program.park()
        return born

    def _join(self, program: Program, coordinator: int) -> None:
        """Enter what is there already, while the engine's credentials are those of the cradle."""
        engine = program.sys("pidfd_open", coordinator, 0)
        for kind in sorted(self._joined, key=lambda kind: kind == "user"):
            fd = program.sys("pidfd_getfd", engine, self._joined[kind], 0, note=f"{kind} namespace")
            program.sys("setns", fd, FLAGS[kind], note=f"{kind} namespace")

    def _enter_user_namespace(self, arena: Arena, coordinator: int) -> None:
        """An address space belongs to the user namespace in which its program was executed: the seed is once more."""
        program = self.first
        program.sys("close_range", 0, abi.SEED_FD - 1, 0)
        program.sys("close_range", abi.SEED_FD + 1, _ALL_FDS, 0)
        seed = program.sys("openat", _AT_FDCWD, arena.text("/proc/self/exe"), _O_PATH | os.O_CLOEXEC, 0)
        self._join(program, coordinator)
        groups = self._groups
        if groups is not None:
            its = arena.put(struct.pack(f"<{len(groups)}I", *groups))
            program.sys("setgroups", len(groups), its, note=f"{groups}, for good")
        if "user" in self.kinds:
            program.sys("unshare", FLAGS["user"], note="a user namespace")
        self._step(program)
        if groups is None:
            program.sys("setgroups", 0, 0)
        program.sys("setresgid", 0, 0, 0)
        program.sys("setresuid", 0, 0, 0)
        nothing = arena.reserve(8)
        program.sys("execveat", seed, arena.text(""), nothing, nothing, _AT_EMPTY_PATH)
        program.park()
        self.program = arena.program("cradle, as root")
        self._stack = arena.stack()

    def head(self) -> bytes:
        """What the arena's head has to say for that: the program and its stack. Empty without a user namespace."""
        return struct.pack("<2Q", self.program.address, self._stack) if self._stack else b""

    def _nest(self, arena: Arena, parent: Program, space: int, keys: list[tuple[str, int]]) -> None:
        """What belongs to the user namespace `space`, 0 for the root task's, and what is in that.

        By a child, with whom the cradle has its descriptors in common: to come back takes capabilities outside.
        """
        child = arena.program(f"cradle's child in user namespace {space}" if space else "cradle's child")
        stack = arena.stack() - abi.STACK_SIZE
        args = _CLONE_ARGS.pack(_CLONE_FILES, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        born = parent.spawn(arena.put(args), len(args), child, "")
        if space:
            owner, above = self._users[space].owner, self._users.get(self._users[space].parent)
            if above:  # which group had made it nothing tells; it has to be one that there is
                child.sys("setresgid", *[above.gid_map[0].first] * 3)
            keep = "keep capabilities: others may be denied user namespaces"
            child.sys("prctl", pr.PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0, note=keep)
            child.sys("setresuid", owner, owner, owner)
            child.sys("unshare", FLAGS["user"], note=f"user namespace {space}")
            child.sys("prctl", pr.PR_SET_DUMPABLE, 1, 0, 0, 0, note="or its maps could not be written")
            self._step(child)
            self.maps[self._steps] = space, parent, born
            self.nested["user", space] = child, child.sys("openat", _AT_FDCWD, arena.text("/proc/self/ns/user"), 0, 0)
        for kind, ident in (key for key in keys if self._owner(key) == space):
            if kind == "cgroup":
                self._step(child)
                self.cgroups[self._steps] = ident, parent, born
            child.sys("unshare", FLAGS[kind], note=f"{kind} namespace {ident}")
            if kind == "time":  # which takes its clocks until there is a process in it
                self._step(child)
                self.clocks[self._steps] = ident, parent, born
            path = arena.text("/proc/self/ns/time_for_children" if kind == "time" else f"/proc/self/ns/{kind}")
            self.nested[kind, ident] = child, child.sys("openat", _AT_FDCWD, path, os.O_RDONLY, 0)
        for ident, entry in self._users.items():
            if space == (entry.parent if entry.parent in self._users else 0):
                self._nest(arena, child, ident, keys)
        child.sys("exit_group", 0)
        child.park()
        parent.sys("wait4", born, 0, _WALL, 0)

    def _owner(self, key: tuple[str, int]) -> int:
        """The number of the user namespace that a namespace belongs to, 0 for the root task's."""
        for ident, entry in self._users.items():
            if any((FLAGS[key[0]], key[1]) == (its.ns_cflag, its.ns_id) for its in entry.owned):
                return ident
        return 0

    def _step(self, program: Program) -> None:
        self._steps += 1
        program.add(self.reached, 1)
        program.wait(self.go, self._steps)

    @property
    def born(self) -> Ref:
        """The operation whose result is the pid of the root task, as the engine sees it."""
        return self._born

    @property
    def steps(self) -> int:
        """How often it waits to be told to go on."""
        return self._steps
