"""Compile one task's images into its program: memory, files, then everything that makes a task a task."""

from __future__ import annotations

import os
from bisect import bisect_right

from engine.context import Context
from engine.errors import BadImage
from engine.files import ghost
from engine.files.fd import FD_CLOEXEC, O_CLOEXEC
from engine.images.files import Images
from engine.images.validate import stored_pages
from engine.kernel import proc
from engine.kernel.memory import PAGE
from engine.kernel.uapi import prctl as pr
from engine.memory import load
from engine.memory import mm as mm_kind
from engine.memory import vmas as vma_kind
from engine.plan import abi
from engine.plan.program import Arena, Program, Ref
from engine.tasks import creds, identity, limits, signals, threads, timers
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_F_SETFD = 2
_ALL_FDS = 0xFFFFFFFF
PE_PARENT = 1
ARENA_ROOM = 64 << 20  # bytes that the arena may have; its hole in the address space is that large


class TaskImages:
    """The images of one task, read and consistent with each other. `pages` counts those that it will load."""

    __slots__ = (
        "core",
        "fdinfo",
        "files",
        "fs",
        "ids",
        "inventory",
        "mm",
        "pagemap",
        "pages",
        "pages_id",
        "pid",
        "remaps",
        "tree",
    )

    def __init__(self, images: Images, tree: Any, inventory: Any) -> None:
        self.tree = tree
        self.inventory = inventory
        self.pid: int = tree.pid
        self.core = images.read_one("CORE", self.pid)
        for part in ("tc", "thread_core"):
            if not self.core.HasField(part):
                raise BadImage(f"core-{self.pid}.img", 0, f"field {part} is missing; dump again")
        self.mm = images.read_one("MM", self.pid)
        self.fs = images.read_one("FS", self.pid)
        self.ids = self.core.ids if self.core.HasField("ids") else images.read_one("IDS", self.pid)
        self.fdinfo = images.read("FDINFO", self.ids.files_id)
        head, self.pagemap = images.read_pagemap("PAGEMAP", self.pid)
        self.pages_id: int = head.pages_id
        self.files = {entry.id: entry for entry in images.read("FILES")}
        self.remaps = images.read("REMAP_FPATH") if images.exists("REMAP_FPATH") else []
        self.pages = 0

    def blockers(self) -> list[str]:
        """What of it cannot be restored yet, one line each."""
        out = []
        if self.core.tc.timers.posix:
            out.append("POSIX timers are not supported yet")
        if self.core.thread_core.seccomp_mode:
            out.append(f"seccomp mode {self.core.thread_core.seccomp_mode} is not supported yet")
        out += [
            f"remap-fpath.img: file {r.orig_id:#x}: remap type {r.remap_type} is not supported yet"
            for r in self.remaps
            if r.remap_type != ghost.GHOST
        ]
        if self.mm.aios:
            out.append("AIO rings are not supported yet")
        for v in self.mm.vmas:
            kinds = vma_kind.REGULAR | vma_kind.HEAP | vma_kind.FILE_PRIVATE | vma_kind.FILE_SHARED
            kinds |= vma_kind.ANON_PRIVATE | vma_kind.VDSO | vma_kind.VVAR | vma_kind.VSYSCALL | 2
            if v.status & ~kinds or v.flags & 0x40000:
                out.append(f"mapping {vma_kind.text(v)}: status {v.status:#x} is not supported yet")
        if any(p.in_parent or p.flags & PE_PARENT for p in self.pagemap):
            out.append("pages in a parent image (incremental dumps) are not supported yet")
        return [f"pid {self.pid}: {line}" for line in out]


def compile_task(
    ctx: Context, arena: Arena, task: TaskImages, opener: Opener, coordinator: int
) -> tuple[Program, list[tuple[str, Ref]]]:
    """The program of the root task, and the results that tell which limits could be set."""
    program = arena.program(f"task {task.pid}")
    top = ctx.arch.TASK_SIZE
    program.sys("munmap", PAGE, arena.base - PAGE, note="the seed")
    behind = arena.base + ARENA_ROOM
    program.sys("munmap", behind, top - behind, note="stack, vdso")
    program.sys("close_range", 0, _ALL_FDS, 0)
    pidfd = program.sys("pidfd_open", coordinator, 0, note="the opener")
    _session(program, task)
    _memory(ctx, program, task, opener, pidfd)
    _fs(program, task, opener, pidfd)
    _fds(program, task, opener, pidfd)
    ctx.arch.plan_areas(program, task.core)
    timers.plan(program, task.core)
    own = proc.status(os.getpid())
    signals.plan(program, task.core, task.pid, int(own["SigIgn"], 16))
    set_limits = limits.plan(program, task.core)
    identity.plan(program, task.core, task.mm)
    creds.plan(program, task.core, int(own["CapBnd"], 16))
    identity.plan_last(program, task.core, task.mm)
    threads.plan(program, task.core)
    program.sys("prctl", pr.PR_SET_PDEATHSIG, task.core.thread_core.pdeath_sig, 0, 0, 0)
    program.park()
    return program, set_limits


def _session(program: Program, task: TaskImages) -> None:
    """Session and process group of the root task; with --shell-job they are the engine's own."""
    if task.tree.sid == task.pid:
        program.sys("setsid")
    elif task.tree.pgid == task.pid:
        program.sys("setpgid", 0, 0)


def _memory(ctx: Context, program: Program, task: TaskImages, opener: Opener, pidfd: Ref) -> None:
    exe = 1  # the lowest free descriptor: only the pidfd is open
    program.sys(
        "pidfd_getfd",
        pidfd,
        opener.file(task.mm.exe_file_id),
        0,
        expect=abi.EXPECT_EQUAL,
        want=exe,
        note=f"the executable {opener.name(task.mm.exe_file_id)}",
    )
    mapped = [v for v in task.mm.vmas if not v.status & (vma_kind.VDSO | vma_kind.VVAR | vma_kind.VSYSCALL)]
    loads = _loads(task, mapped)
    filled = {start for start, _, _, _ in loads}
    by_file: dict[tuple[int, int], list[Any]] = {}
    for v in mapped:
        if v.status & (vma_kind.FILE_PRIVATE | vma_kind.FILE_SHARED):
            by_file.setdefault((v.shmid, v.fdflags), []).append(v)
        else:
            vma_kind.plan_map(program, v, -1, v.start in filled)
    for (ident, flags), group in by_file.items():
        fd = program.sys("pidfd_getfd", pidfd, opener.file(ident, flags), 0, note=opener.name(ident))
        for v in group:
            vma_kind.plan_map(program, v, fd, v.start in filled)
        program.sys("close", fd)
    if loads:
        pages = exe + 1
        source = opener.raw("PAGES", task.pages_id)
        program.sys("pidfd_getfd", pidfd, source, 0, expect=abi.EXPECT_EQUAL, want=pages, note="pages")
        load.plan(program, [part[1:] for part in loads], pages)
        program.sys("close", pages)
    for v in mapped:
        vma_kind.plan_protect(program, v, v.start in filled)
    vma_kind.plan_vdso(ctx.arch, program, task.mm.vmas)
    mm_kind.plan(program, task.mm, exe)
    program.sys("close", exe)


def _loads(task: TaskImages, mapped: list[Any]) -> list[tuple[int, int, int, int]]:
    """(start of the mapping, address, bytes, offset in the pages image) of every part to load, in file order."""
    out = []
    offset = 0
    skipped = [v for v in task.mm.vmas if v.status & vma_kind.VDSO]
    by_page = sorted(mapped, key=lambda v: int(v.start))
    starts = [v.start for v in by_page]
    for entry in task.pagemap:
        at, count = entry.vaddr, stored_pages(entry)
        end = at + count * PAGE
        while at < end:
            i = bisect_right(starts, at) - 1
            if i >= 0 and by_page[i].end > at:
                part = min(end, by_page[i].end) - at
                out.append((by_page[i].start, at, part, offset))
                task.pages += part // PAGE
            else:
                vdso = next((v for v in skipped if v.start <= at < v.end), None)
                if vdso is None:
                    raise BadImage(
                        f"pagemap-{task.pid}.img",
                        0,
                        f"page {at:#x} lies in no mapping of mm-{task.pid}.img; dump again",
                    )
                part = min(end, vdso.end) - at
            at += part
            offset += part
    return out


def _fs(program: Program, task: TaskImages, opener: Opener, pidfd: Ref) -> None:
    """Root, working directory, umask."""
    if opener.name(task.fs.root_id) != "/":
        root = program.sys("pidfd_getfd", pidfd, opener.file(task.fs.root_id), 0, note=opener.name(task.fs.root_id))
        program.sys("fchdir", root)
        program.sys("chroot", program.arena.text("."))
        program.sys("close", root)
    cwd = program.sys("pidfd_getfd", pidfd, opener.file(task.fs.cwd_id), 0, note=opener.name(task.fs.cwd_id))
    program.sys("fchdir", cwd)
    program.sys("close", cwd)
    program.sys("umask", task.fs.umask)


def _fds(program: Program, task: TaskImages, opener: Opener, pidfd: Ref) -> None:
    """The descriptor table: every number with the right description and close-on-exec.

    pidfd_getfd takes the lowest free number, which is known here: the table is filled from below, and the pidfd sits
    above all of it.
    """
    wanted = sorted(task.fdinfo, key=lambda e: int(e.fd))
    high = max((e.fd for e in wanted), default=-1) + 1
    if high > 0:
        program.sys("dup3", pidfd, high, O_CLOEXEC, note="the opener, out of the way")
        program.sys("close", pidfd)
    source: Ref | int = high if high > 0 else pidfd
    have: dict[int, int] = {}
    lowest = 0
    for entry in wanted:
        cloexec = O_CLOEXEC if entry.flags & FD_CLOEXEC else 0
        if entry.id in have:
            program.sys("dup3", have[entry.id], entry.fd, cloexec)
        else:
            note = f"fd {entry.fd}: {opener.name(entry.id)}"
            got = program.sys("pidfd_getfd", source, opener.file(entry.id), 0, note=note)
            if lowest == entry.fd:
                if not cloexec:
                    program.sys("fcntl", got, _F_SETFD, 0)
            else:
                program.sys("dup3", got, entry.fd, cloexec)
                program.sys("close", got)
            have[entry.id] = entry.fd
        if lowest == entry.fd:
            lowest += 1
    program.sys("close", source)
