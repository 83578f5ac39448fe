"""What only a task itself can answer: one program of questions, asked by the parasite in one visit."""

from __future__ import annotations

from engine.plan import abi
from engine.plan.program import PAGE, Arena, Program, Ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap


class Answers:
    """What one thread answered."""

    __slots__ = ("_arena", "_memory", "_origin", "_program")

    def __init__(self, memory: bytes, origin: int, arena: Arena, program: Program) -> None:
        """`memory` is a part of the arena, from the address `origin` on."""
        self._memory = memory
        self._origin = origin
        self._arena = arena
        self._program = program

    def result(self, ref: Ref) -> int:
        """What a call returned, -errno included."""
        at = self._program.ops_address + ref.index * abi.OP.size + abi.OP.offset["result"] - self._origin
        return int.from_bytes(self._memory[at : at + 8], "little", signed=True)

    def bytes(self, address: int, size: int) -> bytes:
        """What was written to `room`."""
        at = address - self._origin
        return self._memory[at : at + size]

    def word(self, address: int, size: int = 8) -> int:
        """A little-endian number of `size` bytes written to `room`."""
        return int.from_bytes(self.bytes(address, size), "little")


class Questions:
    """A program under construction, which many tasks may answer. Kinds add questions, and read `Answers` later."""

    __slots__ = ("_start", "arena", "program")

    def __init__(self, arena: Arena, name: str) -> None:
        self.arena = arena
        self.program: Program = arena.program(name)
        self._start = 0

    def ask(self, name: str, *args: int | Ref) -> Ref:
        """A system call in the task."""
        return self.program.ask(name, *args)

    def ask_compat(self, name: str, *args: int | Ref) -> Ref:
        """A system call as 32-bit programs make it; the arena must be `low`."""
        return self.program.sys_compat(name, *args, expect=abi.EXPECT_ANY)

    def room(self, size: int) -> int:
        """Space in the arena for an answer by pointer; answers never go on the task's stack."""
        at = self.arena.reserve(size)
        self._start = self._start or at
        return at

    def pages(self, count: int) -> int:
        """Whole pages of the arena, which the task may map something else over."""
        return self.arena.reserve(count * PAGE, PAGE)

    def done(self) -> Program:
        """Nothing more to ask."""
        self.program.park()
        return self.program

    def answers(self, memory: mmap.mmap) -> Answers:
        """Take what is in the arena's memory now: it will be gone, or another thread's."""
        first = self._start or self.program.ops_address
        end = self.program.ops_address + len(self.program.operations) * abi.OP.size
        return Answers(memory[self.arena.offset(first) : self.arena.offset(end)], first, self.arena, self.program)
