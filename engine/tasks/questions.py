"""What only the task itself can answer: one program of questions, asked by the parasite in one visit."""

from __future__ import annotations

from engine.plan.program import Arena, Program, Ref, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap


class Questions:
    """A program under construction, then its answers. Kinds add questions first, read results after the visit."""

    __slots__ = ("arena", "memory", "program")

    def __init__(self, arena: Arena, name: str) -> None:
        self.arena = arena
        self.program: Program = arena.program(name)
        self.memory: mmap.mmap | bytes = b""

    def ask(self, name: str, *args: int | Ref) -> Ref:
        """A system call in the task."""
        return self.program.ask(name, *args)

    def room(self, size: int) -> int:
        """Space in the arena for an answer by pointer; answers never go on the task's stack."""
        return self.arena.reserve(size)

    def result(self, ref: Ref) -> int:
        """What a call returned, -errno included."""
        return result(self.memory, self.arena, self.program, ref)

    def bytes(self, address: int, size: int) -> bytes:
        """What was written to `room`."""
        at = self.arena.offset(address)
        return bytes(self.memory[at : at + size])

    def word(self, address: int, size: int = 8) -> int:
        """A little-endian number of `size` bytes written to `room`."""
        return int.from_bytes(self.bytes(address, size), "little")
