"""How crit shows numbers: the tables and conversions that the `display` options of `proto/` name, both ways."""

from __future__ import annotations

import binascii
import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# flags=NAME. Bits without a name here are shown in hexadecimal, as the public tool shows them.
FLAGS: dict[str, dict[str, int]] = {
    "rfile.flags": {  # open(2), x86 numbers
        "O_WRONLY": 0o1,
        "O_RDWR": 0o2,
        "O_CREAT": 0o100,
        "O_EXCL": 0o200,
        "O_NOCTTY": 0o400,
        "O_TRUNC": 0o1000,
        "O_APPEND": 0o2000,
        "O_NONBLOCK": 0o4000,
        "O_DSYNC": 0o10000,
        "FASYNC": 0o20000,
        "O_DIRECT": 0o40000,
        "O_LARGEFILE": 0o100000,
        "O_DIRECTORY": 0o200000,
        "O_NOFOLLOW": 0o400000,
        "O_NOATIME": 0o1000000,
        "O_CLOEXEC": 0o2000000,
    },
    "mmap.prot": {"PROT_READ": 1, "PROT_WRITE": 2, "PROT_EXEC": 4},
    "mmap.flags": {
        "MAP_SHARED": 0x1,
        "MAP_PRIVATE": 0x2,
        "MAP_DROPPABLE": 0x8,
        "MAP_ANON": 0x20,
        "MAP_GROWSDOWN": 0x100,
    },
    "mmap.status": {
        "VMA_AREA_REGULAR": 1 << 0,
        "VMA_AREA_STACK": 1 << 1,
        "VMA_AREA_VSYSCALL": 1 << 2,
        "VMA_AREA_VDSO": 1 << 3,
        "VMA_AREA_HEAP": 1 << 5,
        "VMA_FILE_PRIVATE": 1 << 6,
        "VMA_FILE_SHARED": 1 << 7,
        "VMA_ANON_SHARED": 1 << 8,
        "VMA_ANON_PRIVATE": 1 << 9,
        "VMA_AREA_SYSVIPC": 1 << 10,
        "VMA_AREA_SOCKET": 1 << 11,
        "VMA_AREA_VVAR": 1 << 12,
        "VMA_AREA_AIORING": 1 << 13,
        "VMA_AREA_MEMFD": 1 << 14,
        "VMA_AREA_SHSTK": 1 << 15,
        "VMA_AREA_UPROBES": 1 << 17,
        "VMA_UNSUPP": 1 << 31,
    },
    "pmap.flags": {"PE_PARENT": 1 << 0, "PE_LAZY": 1 << 1, "PE_PRESENT": 1 << 2},
    "seals.flags": {  # fcntl(2), F_ADD_SEALS
        "F_SEAL_SEAL": 0x1,
        "F_SEAL_SHRINK": 0x2,
        "F_SEAL_GROW": 0x4,
        "F_SEAL_WRITE": 0x8,
        "F_SEAL_FUTURE_WRITE": 0x10,
    },
}

# dict=NAME, by field. Of task_state the public tool has the last two the wrong way round ("Zombie" is its 3, "Stopped"
# its 6): ours are spelled otherwise, and theirs are read as what they meant: no tool makes of one the other.
DICTS: dict[str, dict[str, dict[str, int]]] = {
    "gen": {"task_state": {"Alive": 1, "DEAD": 2, "STOPPED": 3, "ZOMBIE": 6}},
    "sk": {
        "family": {"UNIX": 1, "INET": 2, "INET6": 10, "NETLINK": 16, "PACKET": 17},
        "type": {"STREAM": 1, "DGRAM": 2, "RAW": 3, "SEQPACKET": 5, "PACKET": 10},
        "proto": {"IP": 0, "TCP": 6, "UDP": 17, "UDPLITE": 136},
        "state": {
            "ESTABLISHED": 1,
            "SYN_SENT": 2,
            "SYN_RECV": 3,
            "FIN_WAIT1": 4,
            "FIN_WAIT2": 5,
            "TIME_WAIT": 6,
            "CLOSE": 7,
            "CLOSE_WAIT": 8,
            "LAST_ACK": 9,
            "LISTEN": 10,
        },
    },
}
_READ_ALSO = {("gen", "task_state", "Zombie"): 3, ("gen", "task_state", "Stopped"): 6}


def flags_text(table: str, value: int) -> str:
    """Flags as "NAME | NAME | 0xREST"; the empty string for none."""
    parts = []
    for name, bit in FLAGS[table].items():
        if value & bit:
            parts.append(name)
            value &= ~bit
    if value:
        parts.append(hex(value))
    return " | ".join(parts)


def flags_value(table: str, text: str) -> int:
    """The reverse of `flags_text`. Raises ValueError for an unknown name."""
    value = 0
    for part in text.split("|"):
        name = part.strip()
        if name in FLAGS[table]:
            value |= FLAGS[table][name]
        elif name:
            value |= int(name, 0)
    return value


def dict_text(table: str, field: str, value: int) -> str | int:
    """The name of a value, or the value when it has none."""
    return next((name for name, number in DICTS[table][field].items() if number == value), value)


def dict_value(table: str, field: str, text: str) -> int:
    """The reverse of `dict_text`. Raises ValueError for an unknown name."""
    known = DICTS[table][field].get(text, _READ_ALSO.get((table, field, text)))
    return int(text, 0) if known is None else known


def dev_text(value: int, old: bool) -> str:
    """A device number as "major:minor": of the kernel's own encoding, or of stat(2)'s (`old`)."""
    if old:
        return f"{value >> 8 & 0xFFF}:{value & 0xFF | value >> 12 & 0xFFF00}"
    return f"{value >> 20}:{value & 0xFFFFF}"


def dev_value(text: str, old: bool) -> int:
    """The reverse of `dev_text`. Raises ValueError for what is no device number."""
    if ":" not in text:
        return int(text, 0)
    major, minor = (int(part) for part in text.split(":"))
    if not (0 <= major < 4096 and 0 <= minor < 1 << 20):
        raise ValueError(f"{text} is no device number")
    return major << 8 | minor & 0xFF | (minor & 0xFFF00) << 12 if old else major << 20 | minor


def addresses_text(words: Iterable[int]) -> list[str] | list[int]:
    """An IP address of one word or of four, each in network order, as a list of one string; else the words."""
    numbers = list(words)
    data = b"".join(word.to_bytes(4, "little") for word in numbers)
    if len(numbers) == 1:
        return [str(ipaddress.IPv4Address(data))]
    return [str(ipaddress.IPv6Address(data))] if len(numbers) == 4 else numbers


def addresses_value(items: list[str | int]) -> list[int]:
    """The reverse of `addresses_text`. Raises ValueError for what is no address."""
    words: list[int] = []
    for item in items:
        if isinstance(item, int):
            words.append(item)
            continue
        data = ipaddress.ip_address(item).packed
        words += [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    return words


def unix_name_text(name: bytes) -> str:
    """The name of a unix socket, quoted-printable: an abstract name begins with "=00"."""
    text = binascii.b2a_qp(name)
    if binascii.a2b_qp(text) != name:  # line ends of two kinds would become one kind
        text = binascii.b2a_qp(name, istext=False)
    return text.decode("ascii")


def unix_name_value(text: str) -> bytes:
    """The reverse of `unix_name_text`. Raises ValueError for what is not ASCII."""
    return binascii.a2b_qp(text.encode("ascii"))
