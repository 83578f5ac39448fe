"""proc(5): what the kernel tells about a task from outside, parsed and nothing more. Sizes are bytes."""

import errno
import os

PROT = {"r": 1, "w": 2, "x": 4}


class Vma:
    """One mapping of /proc/PID/smaps. `known` is for who looks at it: relatives have the same ones."""

    __slots__ = ("dev", "end", "flags", "ino", "known", "page", "path", "pgoff", "prot", "shared", "start", "uffd")

    def __init__(self, head: str, flags: str, page: int = 4096) -> None:
        fields = head.split(None, 5)
        start, _, end = fields[0].partition("-")
        perms = fields[1]
        self.start = int(start, 16)
        self.end = int(end, 16)
        self.prot = (perms[0] == "r") | (perms[1] == "w") << 1 | (perms[2] == "x") << 2
        self.shared = perms[3] == "s"
        self.pgoff = int(fields[2], 16)
        self.dev = fields[3]
        self.ino = int(fields[4])
        self.path = fields[5] if len(fields) > 5 else ""
        self.flags = flags.split()
        self.page = page  # bytes: more than the usual only for MAP_HUGETLB
        self.known: list[str] | None = None
        self.uffd = 0  # how it is registered with a userfaultfd, once `known` is

    def __str__(self) -> str:
        perms = "".join(c if self.prot & bit else "-" for c, bit in PROT.items()) + ("s" if self.shared else "p")
        return f"{self.start:x}-{self.end:x} {perms} {self.path or 'anonymous'}"


def read_text(path: str) -> str:
    """A whole proc file, undecodable bytes kept (surrogateescape)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(parts))


def mountinfo(pid: int | str) -> str:
    """The text of /proc/PID/mountinfo (proc_pid_mountinfo(5)); who ends has none well before it is gone.

    ProcessLookupError then, as if it were.
    """
    try:
        return read_text(f"/proc/{pid}/mountinfo")
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        raise ProcessLookupError(errno.ESRCH, "it is ending", f"/proc/{pid}/mountinfo") from e


def write_text(path: str, text: str, at: int | None = None) -> None:
    """Write a file of procfs or the like in one call; `at` is a descriptor of the directory. OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.write(fd, os.fsencode(text))
    finally:
        os.close(fd)


def smaps(pid: int, seen: dict[tuple[str, str], Vma] | None = None) -> list[Vma]:
    """All mappings of a task, with their VmFlags, in address order.

    With `seen`, a mapping that was met before, in a relative say, is the same object. A protection key (pkeys(7)) is
    a flag `pkey=N` unless it is the default one.
    """
    text = read_text(f"/proc/{pid}/smaps")
    chunks = text.split("\nVmFlags:")  # a path may say so too, but newlines in it are escaped
    out = []
    seen = {} if seen is None else seen
    head = chunks[0].partition("\n")[0]
    has_keys = "\nProtectionKey:" in text
    for i, chunk in enumerate(chunks[1:]):
        flags, _, rest = chunk.partition("\n")
        if has_keys and (key := _field(chunks[i], "ProtectionKey")):
            flags += f" pkey={key}"
        vma = seen.get((head, flags))
        if vma is None:
            page = _field(chunks[i], "KernelPageSize") << 10 if " ht" in flags else 4096
            vma = seen[head, flags] = Vma(head, flags, page)
        out.append(vma)
        head = rest.partition("\n")[0]
    return out


def _field(body: str, name: str) -> int:
    """A number among the lines of one mapping; 0 where there is none of the name."""
    at = body.rfind(f"\n{name}:")
    return int(body[at:].split(None, 2)[1]) if at >= 0 else 0


def maps(pid: int) -> list[Vma]:
    """All mappings of a task in address order, without VmFlags: much cheaper than smaps, which looks at each page."""
    return [Vma(line, "") for line in read_text(f"/proc/{pid}/maps").splitlines()]


def cgroups(text: str) -> dict[str, str]:
    """Hierarchies (`cpu,cpuacct`, `name=systemd`, "" for version 2) and the paths in them, of a /proc/PID/cgroup.

    The paths are relative to the cgroup namespace of whoever has read it (cgroup_namespaces(7)).
    """
    out = {}
    for line in text.splitlines():
        _, name, path = line.split(":", 2)
        out[name] = path.removesuffix(" (deleted)")
    return out


def private_memory(pid: int) -> int:
    """Bytes of anonymous memory that a process has, in memory or swapped out; 0 for one that has ended."""
    text = status(pid)
    return sum(int(text.get(key, "0").split()[0]) for key in ("RssAnon", "VmSwap")) * 1024


def ranges(pid: int | str) -> list[tuple[int, int]]:
    """(start, end) of all mappings."""
    out = []
    for line in read_text(f"/proc/{pid}/maps").split("\n")[:-1]:
        start, _, end = line.partition(" ")[0].partition("-")
        out.append((int(start, 16), int(end, 16)))
    return out


class Stat:
    """/proc/PID/stat: `comm`, `state` and the numbered fields of proc_pid_stat(5) by number."""

    __slots__ = ("comm", "fields", "state")

    def __init__(self, pid: int) -> None:
        text = read_text(f"/proc/{pid}/stat")
        self.comm = text[text.index("(") + 1 : text.rindex(")")]
        self.fields = text[text.rindex(")") + 2 :].split()
        self.state = self.fields[0]

    def __getitem__(self, number: int) -> int:
        return int(self.fields[number - 3])

    @property
    def ppid(self) -> int:
        """Parent."""
        return self[4]

    @property
    def pgid(self) -> int:
        """Process group."""
        return self[5]

    @property
    def sid(self) -> int:
        """Session."""
        return self[6]

    @property
    def is_kernel_thread(self) -> bool:
        """PF_KTHREAD of the task's flags."""
        return bool(self[9] & 0x00200000)


class Status:
    """/proc/PID/status by key, values stripped; nobody wants more than a few of its sixty lines."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = "\n" + text

    def get(self, key: str, otherwise: str = "") -> str:
        """The value of a line that older kernels may not have."""
        at = self._text.find(f"\n{key}:")
        if at < 0:
            return otherwise
        at += len(key) + 2
        return self._text[at : self._text.index("\n", at)].strip()

    def between(self, first: str, last: str) -> str:
        """The lines from one on, up to another; all the rest where there is no such line."""
        start = self._text.find(f"\n{first}:")
        return self._text[start : self._text.find(f"\n{last}:", start)]

    def __getitem__(self, key: str) -> str:
        value = self.get(key, "\0")
        if value == "\0":
            raise KeyError(key)
        return value


def status(pid: int) -> Status:
    """/proc/PID/status."""
    return Status(read_text(f"/proc/{pid}/status"))


def threads(pid: int) -> list[int]:
    """The thread ids, the leader's included, ascending."""
    return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))


def children(pid: int) -> list[int]:
    """The children of all threads of a process (needs CONFIG_PROC_CHILDREN)."""
    out: list[int] = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        out += [int(c) for c in read_text(f"/proc/{pid}/task/{tid}/children").split()]
    return sorted(out)


def fds(pid: int) -> list[int]:
    """The open descriptors, ascending."""
    return sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))


def fdinfo(pid: int, fd: int) -> dict[str, str]:
    """/proc/PID/fdinfo/FD by key: pos, flags (octal), mnt_id, ino, and the kind's own; locks a line each."""
    return keys(read_text(f"/proc/{pid}/fdinfo/{fd}"))


def keys(text: str) -> dict[str, str]:
    """Lines `key: value` by key, the first of those that have the same; of locks all."""
    out: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "lock" and key in out:
            out[key] += f"\n{value.strip()}"
        else:
            out.setdefault(key, value.strip())
    return out


def fdinfo_lines(pid: int, fd: int, word: str) -> list[dict[str, str]]:
    """The lines of fdinfo that begin with a word, where there may be many: their `key:value` by key."""
    out = []
    for line in read_text(f"/proc/{pid}/fdinfo/{fd}").splitlines():
        if line.startswith(word):
            words = line.replace(":", ": ").split()
            out.append({word[:-1]: words[i + 1] for i, word in enumerate(words) if word[-1] == ":"})
    return out


def limits(pid: int) -> list[tuple[int, int]]:
    """(soft, hard) of every resource in the order of RLIMIT_*; RLIM_INFINITY is 2**64-1.

    ProcessLookupError of one that is just being reaped, for which the kernel has an empty file.
    """
    path = f"/proc/{pid}/limits"
    lines = read_text(path).splitlines()
    if not lines:
        raise ProcessLookupError(errno.ESRCH, "it has ended", path)
    out = []
    for line in lines[1:]:
        soft, hard = line[26:].split()[:2]
        out.append((_limit(soft), _limit(hard)))
    return out


def _limit(word: str) -> int:
    return (1 << 64) - 1 if word == "unlimited" else int(word)


def auxv(pid: int) -> list[int]:
    """The auxiliary vector as 64-bit words, AT_NULL included."""
    raw = os.fsencode(read_text(f"/proc/{pid}/auxv"))
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]


def namespaces(pid: int | str) -> dict[str, str]:
    """The identity of each namespace by name: `pid:[4026531836]` and its like."""
    out = {}
    for name in ("pid", "net", "ipc", "uts", "mnt", "user", "cgroup", "time"):
        try:
            out[name] = os.readlink(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            continue  # a kernel built without that kind
    return out
