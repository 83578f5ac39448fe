"""Credentials: ids, groups, the five capability sets, securebits, no_new_privs (credentials(7), capabilities(7))."""

from __future__ import annotations

import os
import struct

from engine.errors import Unsupported
from engine.kernel import proc, process
from engine.kernel.namespaces import FLAGS
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.files.scope import Scope
    from engine.tasks.owned import Born

    Made = Callable[[], None] | None

_CAP_VERSION_3 = 0x20080522
_SECBIT_NO_SETUID_FIXUP = 1 << 2


def ask_thread(q: Questions) -> Ref:
    """The securebits; everything else is in /proc/PID/status."""
    return q.ask("prctl", pr.PR_GET_SECUREBITS)


def dump_ids(core: Any, status: proc.Status, scope: Scope | None = None) -> None:
    """Fill core_entry.thread_core.creds from /proc/PID/status, all but the secure bits.

    With `scope`, ids are what the tree calls them; Unsupported for what its user namespace does not map.
    """
    core.thread_core.creds.secbits = 0
    creds = core.thread_core.creds
    uid, gid = (scope.uid, scope.gid) if scope and scope.ids else (None, None)
    creds.uid, creds.euid, creds.suid, creds.fsuid = _ids(status["Uid"], uid)
    creds.gid, creds.egid, creds.sgid, creds.fsgid = _ids(status["Gid"], gid)
    for field, key in (
        ("cap_inh", "CapInh"),
        ("cap_prm", "CapPrm"),
        ("cap_eff", "CapEff"),
        ("cap_bnd", "CapBnd"),
        ("cap_amb", "CapAmb"),
    ):
        value = int(status[key], 16)
        getattr(creds, field).extend((value & 0xFFFFFFFF, value >> 32))
    creds.groups.extend(_ids(status["Groups"], gid))
    if status.get("NoNewPrivs") == "1":
        creds.no_new_privs = 1


def _ids(text: str, inside: Callable[[int], int] | None) -> list[int]:
    ids = [int(word) for word in text.split()]
    return [inside(ident) for ident in ids] if inside else ids


def dump_thread(
    core: Any, q: Answers, securebits: Ref, status: proc.Status, memo: dict[str, Any], scope: Scope
) -> None:
    """Fill core_entry.thread_core.creds; `memo` keeps what was made of one thread's for others that have the same."""
    key = status.between("Uid", "NStgid") + status.between("CapInh", "Seccomp")
    known = memo.get(key)
    if known is None:
        dump_ids(core, status, scope)
        memo[key] = core.thread_core.creds
    else:
        core.thread_core.creds.CopyFrom(known)
    core.thread_core.creds.secbits = q.result(securebits)


def _set(words: Any) -> int:
    return sum(word << 32 * i for i, word in enumerate(words))


class Inherited:
    """What every task begins with: the engine's own credentials, as fork(2) and execve(2) pass them on.

    In a user namespace (`fresh`): all capabilities, and ids that are like no others. Where setgroups(2) is denied
    `groups` are everybody's.
    """

    __slots__ = ("_entry", "_fresh", "bounding", "groups")

    def __init__(self, message: Any, fresh: bool = False, groups: list[int] | None = None) -> None:
        self._fresh = fresh
        self.groups = groups
        status = proc.status(os.getpid())
        core = message("core_entry")(mtype=0)
        dump_ids(core, status)
        self._entry = core.thread_core.creds
        self._entry.secbits = process.securebits()
        self.bounding = all_capabilities() if fresh else int(status["CapBnd"], 16)

    def is_all(self, creds: Any) -> bool:
        """Is there nothing to change?"""
        return not self._fresh and bool(creds == self._entry)


def all_capabilities() -> int:
    """All that there are, as a mask."""
    return (2 << int(proc.read_text("/proc/sys/kernel/cap_last_cap"))) - 1


def become(program: Program, creds: Any, inherited: Inherited) -> None:
    """Take its ids, and keep all capabilities."""
    program.sys("prctl", pr.PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0, note="keep capabilities")
    groups = list(creds.groups)
    if inherited.groups is None:
        its = program.arena.put(struct.pack(f"<{len(groups)}I", *groups))
        program.sys("setgroups", len(groups), its, note=f"{groups}")
    elif groups != inherited.groups:
        what = f"has groups {groups}, the root task {inherited.groups}, and their user namespace denies setgroups(2)"
        raise Unsupported([f"{program.name}: {what}"])
    program.sys("setresgid", creds.gid, creds.egid, creds.sgid)
    program.sys("setfsgid", creds.fsgid)
    program.sys("setresuid", creds.uid, creds.euid, creds.suid)
    program.sys("setfsuid", creds.fsuid)


def change(program: Program, creds: Any, born: Born) -> None:
    """The same for one that is in a user namespace below from birth: what is as it was then may be unknown there."""
    program.sys("prctl", pr.PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0, note="keep capabilities")
    was = born.creds
    if was is None or list(creds.groups) != list(was.groups):
        try:
            groups = born.groups(list(creds.groups))
        except Unsupported as e:
            raise Unsupported([f"{program.name}: {line}" for line in e.blockers]) from e
        its = program.arena.put(struct.pack(f"<{len(groups)}I", *groups))
        program.sys("setgroups", len(groups), its, note=f"{groups}")
    for kind, names, known in (
        ("gid", ("gid", "egid", "sgid", "fsgid"), born.gid),
        ("uid", ("uid", "euid", "suid", "fsuid"), born.uid),
    ):
        ids = [getattr(creds, name) for name in names]
        if was is None or ids != [getattr(was, name) for name in names]:
            real, effective, saved, fs = map(known, ids)
            program.sys(f"setres{kind}", real, effective, saved)
            program.sys(f"setfs{kind}", fs)


def plan(
    program: Program, core: Any, inherited: Inherited, space: int = -1, born: Born | None = None, made: Made = None
) -> None:
    """Become who the task was; the capabilities that this takes are given up last.

    `space` is a descriptor of the user namespace that it is in, if that is not yet so; it is closed. `born` says who
    it is at birth if that is in such a one. What is `made` is made there, with all capabilities.
    """
    creds = core.thread_core.creds
    if space < 0 and not born and inherited.is_all(creds):
        if made:
            made()
        return
    if born:
        change(program, creds, born)
    else:
        become(program, creds, inherited)
    if space >= 0:
        enter(program, space)
    if made:
        made()
    give_up(program, core, all_capabilities() if born or space >= 0 else inherited.bounding)


def enter(program: Program, space: int) -> None:
    """A user namespace by a descriptor, which is closed; with all capabilities in it, and secure bits unset."""
    program.sys("setns", space, FLAGS["user"])
    program.sys("close", space)


def give_up(program: Program, core: Any, own_bounding: int) -> None:
    """Of all capabilities, which are those of `own_bounding`, leave what the task had."""
    creds = core.thread_core.creds
    arena = program.arena
    inh, prm, eff = _set(creds.cap_inh), _set(creds.cap_prm), _set(creds.cap_eff)
    bnd, amb = _set(creds.cap_bnd), _set(creds.cap_amb)
    for cap in range(64):
        if own_bounding >> cap & 1 and not bnd >> cap & 1:
            program.sys("prctl", pr.PR_CAPBSET_DROP, cap, 0, 0, 0)
    header = arena.put(struct.pack("<Ii", _CAP_VERSION_3, 0))

    def capset(effective: int, permitted: int, note: str) -> None:
        words = []
        for shift in (0, 32):
            words += [
                effective >> shift & 0xFFFFFFFF,
                permitted >> shift & 0xFFFFFFFF,
                inh >> shift & 0xFFFFFFFF,
            ]
        program.sys("capset", header, arena.put(struct.pack("<6I", *words)), note=note)

    if amb:
        capset(own_bounding, own_bounding, "inheritable set, for the ambient one")
        for cap in range(64):
            if amb >> cap & 1:
                program.sys("prctl", pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_RAISE, cap, 0, 0)
    program.sys("prctl", pr.PR_SET_SECUREBITS, creds.secbits, 0, 0, 0)
    capset(eff, prm, f"effective {eff:#x}, permitted {prm:#x}, inheritable {inh:#x}")
    if creds.no_new_privs:
        program.sys("prctl", pr.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
