"""What Python and the blobs share, declared once: structures, operation codes, states.

`blobs/build.py` turns these tables into `abi.h`, with a static assert on every size and offset. All fields are
little-endian and naturally aligned; sizes are in bytes.
"""

import struct

_FORMAT = {"u16": "H", "u32": "I", "s32": "i", "u64": "Q", "s64": "q"}


class Struct:
    """One C structure: field names with type and array length, their offsets, and its size."""

    __slots__ = ("codec", "fields", "name", "offset", "size")

    def __init__(self, name: str, *fields: tuple[str, str] | tuple[str, str, int]) -> None:
        self.name = name
        self.fields = [(f[0], f[1], f[2] if len(f) == 3 else 1) for f in fields]
        self.offset: dict[str, int] = {}
        at = 0
        form = "<"
        for field, ctype, count in self.fields:
            self.offset[field] = at
            at += struct.calcsize(_FORMAT[ctype]) * count
            form += f"{count}{_FORMAT[ctype]}"
        self.codec = struct.Struct(form)
        self.size = self.codec.size

    def field(self, name: str) -> tuple[int, struct.Struct]:
        """Offset of a field and the codec of one element of it."""
        ctype = next(t for n, t, _ in self.fields if n == name)
        return self.offset[name], struct.Struct("<" + _FORMAT[ctype])


# The first page of the arena. `entry`, `prog` and `stack` are what the seed starts the root task with.
HEAD = Struct(
    "head",
    ("addr", "u64"),
    ("size", "u64"),
    ("entry", "u64"),
    ("prog", "u64"),
    ("stack", "u64"),
    # One node of the coordinator's robust futex list; `keeper` is the futex word that belongs to it. When the
    # coordinator dies the kernel sets FUTEX_OWNER_DIED there and wakes whoever is parked (set_robust_list(2)).
    ("keeper_node", "u64"),
    ("keeper", "u32"),
    ("pad", "u32"),
)

# One task's program: where it is, how it ended.
PROG = Struct(
    "prog",
    ("ops", "u64"),
    ("count", "u32"),
    ("pc", "u32"),
    ("state", "u32"),
    ("wakes", "u32"),
    ("error", "s64"),
    # Where a parked task goes when the coordinator dies: 0 is exit_group(2), else the graft's way home.
    ("orphan", "u64"),
)

# One operation. Argument i is an address to load the value from where bit i of `indirect` is set.
OP = Struct(
    "op",
    ("code", "u16"),
    ("expect", "u16"),
    ("indirect", "u16"),
    ("nr", "u16"),
    ("arg", "u64", 6),
    ("want", "u64"),
    ("result", "s64"),
)

# Lies at the start of the executor's image: offsets into it.
BLOB = Struct(
    "blob",
    ("entry", "u32"),
    ("syscall", "u32"),
    ("syscall_size", "u32"),
    ("graft", "u32"),
    # the following from the graft's start on
    ("graft_leave", "u32"),
    ("graft_thread", "u32"),
    ("graft_thread_leave", "u32"),
    ("graft_tail", "u32"),
    ("graft_thread_tail", "u32"),
    ("graft_data", "u32"),
    ("graft_size", "u32"),
    ("size", "u32"),
    ("syscall32", "u32"),
)

# The graft's data: how the first thread and the others get into the arena, and who is there. Two homes follow: of the
# first thread, and of the other one that is under way.
GRAFT = Struct(
    "graft",
    ("entry", "u64"),
    ("stack", "u64"),
    ("prog", "u64"),
    ("arena", "u64"),
    ("size", "u64"),
    ("inside", "u64"),
    ("thread_entry", "u64"),
    ("thread_stack", "u64"),
    ("thread_prog", "u64"),
)

# Where a thread goes on: its signal mask, the address of the graft's last instructions for this home, and then the
# architecture's registers.
HOME = Struct("home", ("mask", "u64"), ("tail", "u64"))

# By which a task asks the coordinator for the number of its next thread, where it may not choose that itself: it has
# `asked` for `wanted`, which was `granted`, and it has `tried`. `alive` is the thread's CLONE_CHILD_CLEARTID word.
STEER = Struct("steer", ("asked", "u32"), ("granted", "u32"), ("tried", "u32"), ("wanted", "u32"), ("alive", "u32"))

STRUCTS = (HEAD, PROG, OP, BLOB, GRAFT, HOME, STEER)

OP_SYSCALL = 0  # result = syscall(nr, arg...)
OP_SPAWN = 1  # clone3(arg0, arg1); the child runs the program at arg2
OP_ADD = 2  # add arg1 to the 32-bit word at arg0 and wake its waiters
OP_WAIT = 3  # until the 32-bit word at arg0 is at least arg1
OP_GONE = 5  # until the 32-bit word at arg0 is 0: a thread's CLONE_CHILD_CLEARTID
OP_SYSCALL32 = 6  # the same by the table of 32-bit programs; five arguments, pointers below 4 GiB
OP_LOAD = 7  # fd, iovecs, u64 offsets in the file, how many: read all of them, populated first where they are large
OP_TAKE = 8  # pidfd, u32 numbers there, the first here, how many: pidfd_getfd(2) to consecutive numbers
OP_LAPS = 9  # ring, no-ops a time, how often, where it is mapped, offsets of tail and head, unread: an io_uring's
OP_COPY = 10  # base, offset, from, how many bytes
OP_STEER = 11  # OP_SPAWN of a thread that is to be number arg3, by the steer at arg4; arg5 is the coordinator's word
OP_BE = 12  # ends the thread unless its number is arg0
OP_PARK = 4  # the program is done: wait on the keeper at arg0

EXPECT_OK = 0  # anything but an errno
EXPECT_ANY = 1
EXPECT_EQUAL = 2  # exactly `want`

STATE_RUNNING = 0
STATE_PARKED = 1
STATE_FAILED = 2

LAPS_READ = 0xFFFFFFFF  # of OP_LAPS: completions are read, none stays
TAKE_KEPT = 1 << 31  # of a number of OP_TAKE: not close-on-exec
SEED_FD = 3  # the arena's memfd, as the seed finds it
# OP_LOAD: bytes that are populated and read at a time; below SMALL populating costs more than it saves. The lowest bit
# of an offset asks for huge pages.
LOAD_PIECE = 512 << 10
LOAD_SMALL = 64 << 10
LOAD_HUGE = 2 << 20
LOAD_IOV_MAX = 1024

# Somebody else of the pid namespace may have taken a number, and soon end; who waits for its turn yields so many times
# before it sleeps, because the number is anybody's until it comes.
STEER_TRIES = 100
STEER_AGAIN_NS = 20_000_000
STEER_SPINS = 10_000

STACK_SIZE = 1024  # of a task or thread while it runs its program; no signal ever comes

CONSTANTS = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, int)}
