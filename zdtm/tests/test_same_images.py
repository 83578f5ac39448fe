"""Our images and the peer's of the same process: the same files, entries, fields and values.

What differs is listed here and explained in docs/images.md; anything else is a failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.context import Schema
from engine.images.files import Images
from engine.images.pagemap import PE_LAZY
from engine.kernel import proc
from zdtm.tests.tasks import Criu, finish

SOURCE = """
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static void handler(int sig)
{
}

static void sockets(void)
{
    struct sock_filter code[] = {{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, {BPF_JMP | BPF_JEQ, 1, 0, 9},
                                 {BPF_RET, 0, 0, 7}, {BPF_RET, 0, 0, 0}};
    struct sock_fprog filter = {4, code};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.1.2.3")};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct linger linger = {1, 5};
    struct timeval timeout = {3, 50000};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1, tos = 0x10, size = 5000;
    socklen_t length = sizeof(in6);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_MARK, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    setsockopt(fd, SOL_IP, IP_TOS, &tos, sizeof(tos));
    setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one));
    bind(fd, (struct sockaddr *)&in, sizeof(in));
    fd = socket(AF_INET6, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
    bind(fd, (struct sockaddr *)&in6, sizeof(in6));
    getsockname(fd, (struct sockaddr *)&in6, &length);
    connect(fd, (struct sockaddr *)&in6, sizeof(in6));
    shutdown(fd, SHUT_WR);
    socket(AF_INET6, SOCK_DGRAM, 0);
}

static void unix_sockets(void)
{
    struct sockaddr_un path = {AF_UNIX, "bound"}, abstract = {AF_UNIX, "\\0zdtm same images"};
    int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0), pair[2];

    bind(server, (struct sockaddr *)&path, sizeof(path));
    chmod("bound", 0620);
    connect(client, (struct sockaddr *)&path, sizeof(path));
    write(client, "waits", 5);
    bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&abstract, sizeof(abstract));
    client = socket(AF_UNIX, SOCK_DGRAM, 0);
    strcpy(path.sun_path, "gone");
    bind(client, (struct sockaddr *)&path, sizeof(path));
    unlink("gone");
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    write(pair[1], "one", 3);
    write(pair[1], "two", 3);
    shutdown(pair[0], SHUT_WR);
}

int main(void)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    struct itimerval timer = {{1000, 0}, {5000, 0}};
    unsigned long context = 0;
    sigset_t mask;
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("file", O_RDWR | O_CREAT | O_APPEND, 0600);

    memset(p, 7, 1 << 19);
    mprotect(p + 8192, 4096, PROT_READ);
    mprotect(p + 16384, 4096, PROT_NONE);
    madvise(p + (1 << 18), 4096, MADV_DONTFORK);
    mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    madvise(p + 32768, 4096, 102); /* MADV_GUARD_INSTALL */
    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, open("/dev/zero", O_RDWR | O_CLOEXEC), 0);
    mmap(NULL, 1 << 21, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    syscall(SYS_io_setup, 10, &context);
    write(fd, "0123456789", 10);
    dup2(fd, 100);
    fcntl(100, F_SETFD, FD_CLOEXEC);
    open("/dev/zero", O_RDONLY | O_CLOEXEC);
    sockets();
    unix_sockets();
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    raise(SIGUSR2);
    setitimer(ITIMER_VIRTUAL, &timer, NULL);
    umask(027);
    prctl(PR_SET_NAME, "a name");
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    setpriority(PRIO_PROCESS, 0, 3);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""

# Field paths whose values may differ, and why.
PAGE = 4096
DIFFERENT = {
    "INVENTORY.dump_criu_run_id": "a random id of the run",
    "INVENTORY.network_lock_method": "iptables is CRIU's default, nftables ours",
    "TIMENS.monotonic.tv_sec": "the time of the dump",
    "TIMENS.monotonic.tv_nsec": "the time of the dump",
    "TIMENS.boottime.tv_sec": "the time of the dump",
    "TIMENS.boottime.tv_nsec": "the time of the dump",
    "CORE.tc.timers.virt.vsec": "what is left of a timer",
    "CORE.tc.timers.virt.vusec": "what is left of a timer",
    "FILES.reg.checksum": "CRIU keeps only the size of a file without a build-id",
    "FILES.reg.checksum_config": "CRIU keeps only the size of a file without a build-id",
    "FILES.reg.checksum_parameter": "CRIU keeps only the size of a file without a build-id",
}

CET = "CORE.thread_info.fpregs.xsave.cet"
COMPONENTS = "CORE.thread_info.fpregs.xsave.xstate_bv"
X87_SSE = 3


def differing(ours: Path, theirs: Path, pid: int) -> dict[str, tuple[Any, Any]]:
    """What is not the same, and should be."""
    a, b = contents(ours, pid), contents(theirs, pid)
    if not any(flags & PE_LAZY for _, flags in b["PAGEMAP"]):
        # now and then the peer marks none, and does not say why
        a["PAGEMAP"] = [(at, flags & ~PE_LAZY) for at, flags in a["PAGEMAP"]]
    for its in (a, b):
        # the registers of shadow stacks, of which nobody has one, on CPUs that have them
        for key in [
            k for k, values in its.items() if k.startswith(CET) and not any(v for v in values if v != "message")
        ]:
            del its[key]
        # some CPUs take what a signal frame has loaded for used, and the first of the two dumps ends with one
        its[COMPONENTS] = [bv & ~X87_SSE for bv in its.get(COMPONENTS, [])]
    keys = {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)} - DIFFERENT.keys()
    return {key: (a.get(key), b.get(key)) for key in keys}


def fields(prefix: str, message: Any) -> dict[str, list[Any]]:
    """Every field that is set, by its path, with the values in order."""
    out: dict[str, list[Any]] = {}
    for field, value in message.ListFields():
        path = f"{prefix}.{field.name}"
        for v in value if field.is_repeated else [value]:
            if field.type == field.TYPE_MESSAGE:
                out.setdefault(path, []).append("message")
                for key, values in fields(path, v).items():
                    out.setdefault(key, []).extend(values)
            else:
                out.setdefault(path, []).append(v)
    return out


def contents(directory: Path, pid: int) -> dict[str, list[Any]]:
    """All fields of all images of a dump."""
    images = Images.open(Schema(), str(directory))
    out: dict[str, list[Any]] = {}
    kinds: list[tuple[str, tuple[int, ...]]] = [(k, (pid,)) for k in ("CORE", "MM", "FS", "IDS")]
    kinds += [("INVENTORY", ()), ("PSTREE", ()), ("FDINFO", (2,)), ("SECCOMP", ()), ("TIMENS", (0,))]
    messages = [(kind, m) for kind, ids in kinds for m in images.read(kind, *ids)]
    # the peer writes the ends of a pair in the order in which it knows both
    messages += [("FILES", m) for m in sorted(images.read("FILES"), key=lambda e: int(e.id))]
    queues = sorted(images.read_payload("SK_QUEUES"), key=lambda its: int(its[0].id_for))
    messages += [("SK_QUEUES", m) for m, _ in queues]
    out["SK_QUEUES"] = [data for _, data in queues]
    head, pagemap = images.read_pagemap("PAGEMAP", pid)
    # where entries begin and end, and their order, is the dumper's own: each says where its pages go
    pages = {int(e.vaddr) + i * PAGE: int(e.flags) for e in pagemap for i in range(e.nr_pages)}
    out["PAGEMAP"] = sorted(pages.items())
    messages.append(("PAGEMAP", head))
    for kind, message in messages:
        for key, values in fields(kind, message).items():
            out.setdefault(key, []).extend(values)
    return out


@pytest.fixture
def both(criu: Criu, peer_criu: Path, c_program, start, tmp_path: Path):  # type: ignore[no-untyped-def]
    """One process, dumped by the peer and by us; it runs on in between."""
    process = start(c_program(SOURCE, "-Wno-unused-result", "-Wno-unused-parameter"))
    while process.log.read_bytes() != b"ready\n" or proc.Stat(process.pid).state != "S":
        assert process.poll() is None
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    args = ("dump", "-R", "-t", str(process.pid), "-D")
    done = subprocess.run([peer_criu, *args, theirs, "-o", "dump.log", "-v4"])
    assert done.returncode == 0, (theirs / "dump.log").read_text()
    criu(*args, str(ours))
    return process, ours, theirs


def test_same_files(both) -> None:  # type: ignore[no-untyped-def]
    _, ours, theirs = both
    names = {p.name for p in theirs.iterdir() if p.name != "dump.log"}
    assert {p.name for p in ours.iterdir()} == names


def test_same_fields_and_values(both) -> None:  # type: ignore[no-untyped-def]
    process, ours, theirs = both
    assert not differing(ours, theirs, process.pid)


def test_same_pages(both) -> None:  # type: ignore[no-untyped-def]
    """Contents page by page, wherever in the pages image they are."""
    process, ours, theirs = both

    def pages(directory: Path) -> dict[int, bytes]:
        images = Images.open(Schema(), str(directory))
        head, entries = images.read_pagemap("PAGEMAP", process.pid)
        data = (directory / f"pages-{head.pages_id}.img").read_bytes()
        out, at = {}, 0
        for e in entries:
            for i in range(e.nr_pages):
                out[e.vaddr + i * PAGE] = data[at : at + PAGE]
                at += PAGE
        assert at == len(data)
        return out

    a, b = pages(ours), pages(theirs)
    assert a.keys() == b.keys()
    # the kernel notes the processor in the rseq area whenever the task has moved to another one
    core = Images.open(Schema(), str(ours)).read_one("CORE", process.pid)
    area = core.thread_core.rseq_entry.rseq_abi_pointer
    for contents in (a, b):
        page = bytearray(contents[area & ~4095])
        page[area & 4095 : (area & 4095) + 32] = bytes(32)
        contents[area & ~4095] = bytes(page)
    assert not {hex(address) for address in a if a[address] != b[address]}


def test_sleep_is_an_extension(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """The one field that CRIU does not have: what is left of an interrupted sleep."""
    process = start(c_program("#include <unistd.h>\nint main(void) { sleep(100); return 0; }\n"))
    while "S" not in Path(f"/proc/{process.pid}/status").read_text().split("State:")[1][:3]:
        pass
    criu("dump", "-R", "-t", str(process.pid), "-D", images)
    core = Images.open(Schema(), images).read_one("CORE", process.pid)
    assert 95e9 < core.thread_core.restart.left_ns <= 100e9
    assert core.thread_info.gpregs.ax == 2**64 - 4  # -EINTR, for readers that do not know the extension


def test_peer_reads_what_we_add(peer_criu: Path, criu: Criu, quiet, images: str) -> None:  # type: ignore[no-untyped-def]
    criu("dump", "-R", "-t", str(quiet.pid), "-D", images)
    finish(quiet)
    done = subprocess.run([peer_criu, "restore", "-d", "-D", images, "-o", "restore.log"])
    assert done.returncode == 0, (Path(images) / "restore.log").read_text()
    os.kill(quiet.pid, signal.SIGKILL)
