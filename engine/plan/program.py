"""Programs: arrays of operations that the executor runs in a task, and the arena that holds them.

An arena's address is fixed before anything is compiled, so pointers into it are immediates. Operations describe
themselves: the line of `criu restore --plan`, of the log and of an error are the same. Nothing here calls the kernel.
"""

from __future__ import annotations

import os
import struct

from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PAGE = 4096
ARENA_ROOM = 64 << 20  # bytes that the arena may have, its tables apart
EXECUTOR_AT = PAGE  # offset of the executor behind the arena's head
_ERRNO_MIN = -4095
_WIDE_LOW, _WIDE_HIGH = 1 << 20, 0x7000_0000_0000  # where a fresh seed has nothing at all
_LOW, _LOW_HIGH = 0x1000_0000, 0xFF00_0000  # behind where 32-bit programs are linked to, and below their stacks


class Machine:
    """One architecture as plans see it: its executor, its system call numbers, its registers in the graft."""

    __slots__ = ("_compat", "blob", "executor", "name", "nr", "path")

    def __init__(self, path: str, name: str) -> None:
        """Load what the build left in `path`/`name`; OSError when it is not there."""
        self.name = name
        self.path = f"{path}/{name}"
        with open(f"{self.path}/executor.bin", "rb") as f:
            self.executor = f.read()
        fields = abi.BLOB.codec.unpack_from(self.executor)
        self.blob: dict[str, int] = dict(zip(abi.BLOB.offset, fields, strict=True))
        self.nr = self._numbers("syscalls")
        self._compat: dict[str, int] = {}

    def _numbers(self, file: str) -> dict[str, int]:
        with open(f"{self.path}/{file}") as f:
            return {key: int(value) for key, value in (line.split() for line in f)}

    @property
    def compat_nr(self) -> dict[str, int]:
        """The system call numbers of 32-bit programs; few dumps and restores meet any."""
        self._compat = self._compat or self._numbers("syscalls32")
        return self._compat


class Ref:
    """The result of an earlier operation of the same program, as an argument of a later one."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Word:
    """What is in a 64-bit word of the arena by then, as an argument."""

    __slots__ = ("address",)

    def __init__(self, address: int) -> None:
        self.address = address


class Table:
    """Bytes of the arena that are written when it is there, by `fill(memory, offset)`: never twice in memory."""

    __slots__ = ("address", "fill", "size")

    def __init__(self, size: int, fill: Callable[[Any, int], None]) -> None:
        self.size = size
        self.fill = fill
        self.address = 0  # until the arena's image is made


class Place:
    """Where something is in a table, as an argument."""

    __slots__ = ("offset", "table")

    def __init__(self, table: Table, offset: int) -> None:
        self.table = table
        self.offset = offset


class Behind:
    """What is kept free behind the arena, as an argument: where that begins, or how many bytes it has."""

    __slots__ = ("_arena", "_is_size")

    def __init__(self, arena: Arena, is_size: bool) -> None:
        self._arena = arena
        self._is_size = is_size

    @property
    def value(self) -> int:
        """Once the arena has its image."""
        arena = self._arena
        return arena.room - arena.size if self._is_size else arena.base + arena.size


Arg = int | Ref | Word | Place | Behind


class Operation:
    """One operation: frozen once made, and able to say what it does."""

    __slots__ = ("args", "code", "expect", "name", "note", "want")

    def __init__(
        self, code: int, name: str, args: tuple[Arg, ...], expect: int, want: int, note: str | Callable[[], str]
    ) -> None:
        self.code = code
        self.name = name
        self.args = args
        self.expect = expect
        self.want = want
        self.note = note

    def describe(self, texts: dict[int, str]) -> str:
        """`name(arguments)  note`; an argument that is the address of a text in the arena is shown as that text."""
        shown = ", ".join(
            f"r{a.index}"
            if isinstance(a, Ref)
            else f"[{a.address:#x}]"
            if isinstance(a, Word)
            else f"table+{a.offset:#x}"
            if isinstance(a, Place)
            else "behind the arena"
            if isinstance(a, Behind)
            else texts.get(a) or (str(a) if a < 1024 else f"{a:#x}")
            for a in self.args
        )
        note = self.note if isinstance(self.note, str) else self.note()
        kind = "32-bit " if self.code == abi.OP_SYSCALL32 else ""
        return f"{kind}{self.name}({shown})" + (f"  # {note}" if note else "")


class Caller:
    """What the task of a program calls others: here as the images do. One that is `alone` starts no helpers lightly."""

    __slots__ = ("alone", "pid")

    def __init__(self, pid: int = 0, alone: bool = False) -> None:
        self.pid = pid
        self.alone = alone

    def called(self, pid: int) -> int:
        """What it calls one that is `pid` in the images."""
        return pid

    def passing(self) -> list[int]:
        """What clone3(2) takes as set_tid for one that is there for a moment; empty: the kernel may choose."""
        return []


class Program:
    """What one task does. `address` is its control block (struct prog) in the arena."""

    __slots__ = ("address", "arena", "caller", "name", "operations", "ops_address")

    def __init__(self, arena: Arena, name: str) -> None:
        self.arena = arena
        self.name = name
        self.address = arena.reserve(abi.PROG.size)
        self.operations: list[Operation] = []
        self.ops_address = 0
        self.caller = Caller()

    def called(self, pid: int) -> int:
        """What its task calls one that is `pid` in the images."""
        return self.caller.called(pid)

    def _add(self, op: Operation) -> Ref:
        self.operations.append(op)
        return Ref(len(self.operations) - 1)

    def sys(
        self,
        name: str,
        *args: Arg,
        note: str | Callable[[], str] = "",
        expect: int = abi.EXPECT_OK,
        want: int = 0,
    ) -> Ref:
        """A system call by its kernel name; an errno ends the program unless `expect` says otherwise.

        A `note` that is costly to make is called for when somebody reads it.
        """
        if name not in self.arena.machine.nr:
            raise KeyError(f"{name}: not a system call of {self.arena.machine.name}")
        return self._add(Operation(abi.OP_SYSCALL, name, args, expect, want, note))

    def sys_compat(self, name: str, *args: Arg, note: str = "", expect: int = abi.EXPECT_OK) -> Ref:
        """A system call as 32-bit programs make it: five arguments at most, and an arena that is `low`."""
        if name not in self.arena.machine.compat_nr:
            raise KeyError(f"{name}: not a 32-bit system call of {self.arena.machine.name}")
        return self._add(Operation(abi.OP_SYSCALL32, name, args, expect, 0, note))

    def ask(self, name: str, *args: Arg, note: str = "") -> Ref:
        """A system call whose errno is an answer like any other."""
        return self.sys(name, *args, note=note, expect=abi.EXPECT_ANY)

    def spawn(self, args: int, size: int, program: Program, note: str = "") -> Ref:
        """Start a task or thread: clone_args of `size` bytes at `args`; it runs `program`."""
        shown = (args, size, program.address)
        return self._add(Operation(abi.OP_SPAWN, "clone3", shown, abi.EXPECT_OK, 0, note or program.name))

    def steer(self, args: int, size: int, program: Program, tid: int, words: int, told: int, note: str) -> Ref:
        """The same for a thread that gets its number by the steer at `words`; the word `told` wakes the coordinator."""
        shown = (args, size, program.address, tid, words, told)
        return self._add(Operation(abi.OP_STEER, "clone3", shown, abi.EXPECT_EQUAL, tid, note))

    def be(self, tid: int) -> None:
        """In the program of such a thread, first of all: end unless that is its number."""
        self._add(Operation(abi.OP_BE, "be", (tid,), abi.EXPECT_ANY, 0, ""))

    def add(self, word: int, count: int) -> None:
        """Add to a 32-bit word of the arena, and wake who waits for it."""
        self._add(Operation(abi.OP_ADD, "add", (word, count), abi.EXPECT_OK, 0, ""))

    def wait(self, word: int, least: int, expect: int = abi.EXPECT_OK) -> None:
        """Wait until a 32-bit word of the arena is at least so much; not at all for 0.

        ECANCELED when the coordinator has died: the end of the program unless `expect` says otherwise.
        """
        if least:
            self._add(Operation(abi.OP_WAIT, "wait", (word, least), expect, 0, ""))

    def gone(self, word: int) -> None:
        """Wait for the end of a thread whose CLONE_CHILD_CLEARTID word this is."""
        self._add(Operation(abi.OP_GONE, "gone", (word,), abi.EXPECT_OK, 0, ""))

    def load(self, fd: Arg, parts: Place, offsets: Place, count: int, note: str) -> None:
        """Read parts of a file (struct iovec) from their offsets, populated first where they are large."""
        self._add(Operation(abi.OP_LOAD, "preadv", (fd, parts, offsets, count), abi.EXPECT_OK, 0, note))

    def take(self, pidfd: Arg, sources: list[int], first: int, note: Callable[[], str]) -> None:
        """Descriptors of another task, to consecutive numbers; abi.TAKE_KEPT where not close-on-exec."""
        table = self.arena.put(struct.pack(f"<{len(sources)}I", *sources))
        args = (pidfd, table, first, len(sources))
        self._add(Operation(abi.OP_TAKE, "pidfd_getfd", args, abi.EXPECT_OK, 0, note))

    def laps(self, ring: Arg, base: Arg, offsets: tuple[int, int], count: int, times: int, unread: int) -> None:
        """`count` no-ops of an io_uring, `times` times; `offsets` are of tail and head in its mapping (abi.OP_LAPS)."""
        if count and times:
            args = (ring, count, times, base, offsets[0] | offsets[1] << 32, unread)
            self._add(Operation(abi.OP_LAPS, "no-ops", args, abi.EXPECT_OK, 0, f"{times} times {count}"))

    def copy(self, base: Arg, offset: int, data: bytes, note: str = "") -> None:
        """Write bytes to memory of the task."""
        if data:
            args = (base, offset, self.arena.put(data), len(data))
            self._add(Operation(abi.OP_COPY, "copy", args, abi.EXPECT_OK, 0, note))

    def park(self) -> None:
        """The end: wait to be taken over."""
        self._add(Operation(abi.OP_PARK, "park", (self.arena.keeper,), abi.EXPECT_ANY, 0, ""))

    def describe(self, index: int) -> str:
        """One operation, as text."""
        return self.operations[index].describe(self.arena.texts)

    def failure(self, index: int, result: int) -> str:
        """What the user reads when operation `index` returned `result`."""
        why = f"{os.strerror(-result)} (errno {-result})" if _ERRNO_MIN <= result < 0 else f"returned {result:#x}"
        op = self.operations[index]
        if op.expect == abi.EXPECT_EQUAL:
            why += f", wanted {op.want:#x}"
        return f"{self.name}: operation {index}: {self.describe(index)}: {why}"

    def listing(self) -> str:
        """The whole program, one numbered line an operation."""
        lines = [f"{i:5}  {self.describe(i)}" for i in range(len(self.operations))]
        return "\n".join([f"{self.name}: {len(lines)} operations", *lines])

    def encode(self) -> bytes:
        """The operations as the executor reads them; `ops_address` must be set."""
        pack = abi.OP.codec.pack
        machine = self.arena.machine
        result_at = self.ops_address + abi.OP.offset["result"]
        out = []
        for op in self.operations:
            indirect = 0
            args = [0, 0, 0, 0, 0, 0]
            for i, a in enumerate(op.args):
                if isinstance(a, Ref):
                    indirect |= 1 << i
                    args[i] = result_at + a.index * abi.OP.size
                elif isinstance(a, Word):
                    indirect |= 1 << i
                    args[i] = a.address
                elif isinstance(a, Place):
                    args[i] = a.table.address + a.offset
                elif isinstance(a, Behind):
                    args[i] = a.value
                else:
                    args[i] = a & 0xFFFFFFFFFFFFFFFF
            number = 0
            if op.code == abi.OP_SYSCALL:
                number = machine.nr[op.name]
            elif op.code == abi.OP_SYSCALL32:
                number = machine.compat_nr[op.name]
            out.append(pack(op.code, op.expect, indirect, number, *args, op.want & 0xFFFFFFFFFFFFFFFF, 0))
        return b"".join(out)


class Arena:
    """The shared memory of one dump or restore while it is being compiled; `base` is its address in every task."""

    __slots__ = ("_data", "_words", "base", "machine", "programs", "room", "size", "tables", "texts")

    def __init__(self, machine: Machine, base: int, room: int = ARENA_ROOM) -> None:
        self.machine = machine
        self.base = base
        self.programs: list[Program] = []
        self.texts: dict[int, str] = {}
        self.room = room  # bytes that are free there
        self.tables: list[Table] = []
        self.size = 0  # in bytes, tables included, once there is an image
        self._words: dict[str, int] = {}
        self._data = bytearray(PAGE)
        self._data += machine.executor
        self.align(16)

    @property
    def keeper(self) -> int:
        """Address of the keeper word."""
        return self.base + abi.HEAD.offset["keeper"]

    @property
    def entry(self) -> int:
        """Address of the executor's entry."""
        return self.base + EXECUTOR_AT + self.machine.blob["entry"]

    @property
    def low(self) -> bool:
        """Can 32-bit system calls be given pointers into it?"""
        return self.base < _LOW_HIGH

    @property
    def compat_syscall_instruction(self) -> int:
        """Address of an instruction in the executor for 32-bit system calls."""
        return self.base + EXECUTOR_AT + self.machine.blob["syscall32"]

    @property
    def syscall_instruction(self) -> int:
        """Address of a system call instruction in the executor."""
        return self.base + EXECUTOR_AT + self.machine.blob["syscall"]

    def align(self, to: int) -> None:
        """Let the next thing start at a multiple of `to` bytes."""
        self._data += bytes(-len(self._data) % to)

    def put(self, data: bytes | bytearray) -> int:
        """Place bytes, 8-aligned, and return their address."""
        self.align(8)
        at = self.base + len(self._data)
        self._data += data
        return at

    def text(self, text: str | bytes) -> int:
        """Place a NUL-terminated string."""
        raw = text if isinstance(text, bytes) else os.fsencode(text)
        at = self.put(raw + b"\0")
        self.texts[at] = '"' + os.fsdecode(raw) + '"'
        return at

    def reserve(self, size: int, align: int = 8) -> int:
        """Place zeroes."""
        self.align(align)
        return self.put(bytes(size))

    def word(self, what: str) -> int:
        """The 32-bit word that programs wait for, and add to, for the same reason."""
        if what not in self._words:
            self._words[what] = self.reserve(4)
        return self._words[what]

    def stack(self) -> int:
        """Place a stack and return its top."""
        return self.reserve(abi.STACK_SIZE, 16) + abi.STACK_SIZE

    def program(self, name: str) -> Program:
        """Begin a program."""
        program = Program(self, name)
        self.programs.append(program)
        return program

    def table(self, size: int, fill: Callable[[Any, int], None]) -> Table:
        """Place `size` bytes behind everything else, for `fill` to write once the arena is in shared memory."""
        self.tables.append(Table(size, fill))
        return self.tables[-1]

    def offset(self, address: int) -> int:
        """Where an address lies in the image."""
        return address - self.base

    def image(self, first: Program, stack: int, orphan: int = 0) -> bytes:
        """The arena's contents but for its tables, whole pages; `first` is what the seed runs on `stack`."""
        ops = sum(len(program.operations) for program in self.programs) * abi.OP.size
        end = len(self._data) + (-len(self._data) % 8) + ops
        self.size = end + -end % PAGE
        for table in self.tables:
            table.address = self.base + self.size
            self.size += table.size + -table.size % PAGE
        for program in self.programs:
            program.ops_address = self.base + len(self._data) + (-len(self._data) % 8)
            code = program.encode()
            self.put(code)
            at = self.offset(program.address)
            abi.PROG.codec.pack_into(
                self._data,
                at,
                program.ops_address,
                len(program.operations),
                0,
                abi.STATE_RUNNING,
                0,
                0,
                orphan,
            )
        self.align(PAGE)
        abi.HEAD.codec.pack_into(self._data, 0, self.base, self.size, self.entry, first.address, stack, 0, 0, 0)
        return bytes(self._data)


def result(memory: Any, arena: Arena, program: Program, ref: Ref) -> int:
    """The result that an operation left in the running arena's memory."""
    at = arena.offset(program.ops_address) + ref.index * abi.OP.size + abi.OP.offset["result"]
    value: int = struct.unpack_from("<q", memory, at)[0]
    return value


def poke(memory: Any, arena: Arena, program: Program, ref: Ref, number: int, value: int) -> None:
    """Change an immediate argument of an operation that has not been reached yet."""
    at = arena.offset(program.ops_address) + ref.index * abi.OP.size + abi.OP.offset["arg"]
    struct.pack_into("<Q", memory, at + 8 * number, value)


def status(memory: Any, arena: Arena, program: Program) -> tuple[int, int, int]:
    """(state, index of the current operation, error) of a running program."""
    at = arena.offset(program.address)
    _, _, pc, state, _, error, _ = abi.PROG.codec.unpack_from(memory, at)
    return state, pc, error


def place(taken: list[tuple[int, int]], size: int, low: bool) -> int:
    """free_hole(), of which 32-bit tasks can make use too where it has to be `low`."""
    if low:
        return free_hole(taken, size, _LOW, _LOW_HIGH)
    try:
        return free_hole(taken, size)
    except MemoryError:  # somebody has reserved all of it
        return free_hole(taken, size, _WIDE_LOW, _WIDE_HIGH)


def free_hole(taken: list[tuple[int, int]], size: int, low: int = 1 << 32, high: int = 0x5000_0000_0000) -> int:
    """An address with `size` free bytes and a page of distance around, in none of the (start, end) ranges.

    The default window is far from where the kernel puts a fresh program's image, stack, libraries and vdso.
    """
    at = low
    for start, end in sorted(taken):
        if end + PAGE <= at:
            continue
        if start >= at + size + PAGE:
            break
        at = (end + PAGE + 0xFFFFF) & ~0xFFFFF
    if at + size > high:
        raise MemoryError(f"no {size} free bytes between {low:#x} and {high:#x}")
    return at
