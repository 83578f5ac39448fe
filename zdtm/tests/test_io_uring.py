"""Rings of io_uring(7) that are refused by name, and run on; images of rings, also bad ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.context import Schema
from engine.images.crit import main as crit
from engine.images.files import Images
from zdtm.tests.tasks import Criu, end_restored, finish, refused, wait

PROGRAM = r"""
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALONE (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define AT(offset) (*(unsigned *)(at + (offset)))

static char *at;

static int ring(unsigned flags)
{
    struct io_uring_params p = {.flags = flags};

    return syscall(SYS_io_uring_setup, 4, &p);
}

/* Its rings are in memory of ours (IORING_SETUP_NO_MMAP). */
static int ring_here(void)
{
    static char memory[2][4096] __attribute__((aligned(4096)));
    struct io_uring_params p = {.flags = 1 << 14};
    uint64_t addresses[] = {(uintptr_t)memory[0], (uintptr_t)memory[1]};

    memcpy((char *)&p + 72, &addresses[0], 8);
    memcpy((char *)&p + 112, &addresses[1], 8);
    return syscall(SYS_io_uring_setup, 4, &p);
}

static int reg(int fd, unsigned code, const void *what, unsigned count)
{
    return syscall(SYS_io_uring_register, fd, code, what, count) < 0;
}

static int submit(int fd, unsigned code, const void *where, unsigned count)
{
    struct io_uring_params p = {.flags = 0};
    struct io_uring_sqe *sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    int r = 0;

    close(syscall(SYS_io_uring_setup, 4, &p)); /* where things are */
    at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    sqes->opcode = code;
    sqes->addr = (uintptr_t)where;
    sqes->len = where != NULL;
    sqes->user_data = 77;
    while (count--) {
        AT(p.sq_off.tail)++;
        r |= syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0) != 1;
    }
    return r;
}

static int file_of(const char *name, int times)
{
    int fd = ring(0), file = -1, r;

    for (int i = 0; i < times; i++)
        file = open(name, O_RDONLY);
    if (times)
        return reg(fd, IORING_REGISTER_FILES, &file, 1);
    file = open(name, O_RDONLY);
    r = reg(fd, IORING_REGISTER_FILES, &file, 1);
    return r | close(file);
}

static void end(int sig)
{
    _exit(sig != SIGTERM);
}

static int set_up(void)
{
    BODY
}

int main(void)
{
    signal(SIGTERM, end);
    puts(set_up() ? "cannot" : "ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""
BEFORE = """
    struct __kernel_timespec long_time = {1000, 0};
    struct { uint16_t what; uint8_t code, pad[13]; } only = {IORING_RESTRICTION_SQE_OP, IORING_OP_NOP, {0}};
    struct { uint32_t us; uint8_t pad[20]; } napi = {100, {0}};
    int disabled = ring(IORING_SETUP_R_DISABLED), restricted = ring(IORING_SETUP_R_DISABLED), events = ring(0);
    int timeout = ring(0), full = ring(0), polled = ring(IORING_SETUP_IOPOLL), net = ring(0);
    int event = eventfd(0, 0), nameless = ring(0);

    return reg(restricted, IORING_REGISTER_RESTRICTIONS, &only, 1) ||
           reg(restricted, IORING_REGISTER_ENABLE_RINGS, NULL, 0) || reg(events, IORING_REGISTER_EVENTFD, &event, 1) ||
           submit(timeout, IORING_OP_TIMEOUT, &long_time, 1) || submit(full, IORING_OP_NOP, NULL, 9) ||
           polled < 0 ||
           reg(net, 27, &napi, 1) || reg(nameless, IORING_REGISTER_FILES, &event, 1) || disabled < 0 ||
           file_of("/etc/passwd", 0) || file_of("/etc/group", 2) || ring_here() < 0;
"""
WHY = {
    3: "is not enabled yet: enable it",
    4: "has restrictions (IORING_REGISTER_RESTRICTIONS)",
    5: "has an eventfd registered",
    6: "1 requests have had 0 completions, so there may be some in flight",
    7: "1 completions have found no room",
    8: "polls for completions (IORING_SETUP_IOPOLL)",
    9: "polls network devices",
    11: "its registered file anon_inode:[eventfd] is one of many of that name",
    12: "its registered file /etc/passwd is open nowhere else in the tree",
    13: "its registered file /etc/group is open several times",
    16: "has its rings in memory of the task (IORING_SETUP_NO_MMAP)",
}
# what only a frozen task tells
LATE = {
    "registered ring": (
        """struct { uint32_t slot, pad; uint64_t fd; } which = {-1U, 0, ring(0)};
           return (reg(ring(0), 20, &which, 1) != 0) | close(which.fd);""",
        "has a ring whose descriptor is closed (IORING_REGISTER_RING_FDS)",
    ),
    "nothing but a registered ring": (
        """struct { uint32_t slot, pad; uint64_t fd; } which = {-1U, 0, ring(0)};
           return reg(3, 20, &which, 1) | close(3);""",
        "has a ring whose descriptor is closed (IORING_REGISTER_RING_FDS)",
    ),
    "buffers": (
        """static char memory[4096] __attribute__((aligned(4096)));
           struct { uint64_t at; uint32_t count; uint16_t group, pad[13]; } which = {(uintptr_t)memory, 8, 7, {0}};
           return reg(ring(0), 22, &which, 1);""",
        "has groups [7] of buffers provided",
    ),
    "issuer": (
        "int event = eventfd(0, 0); return reg(ring(ALONE), IORING_REGISTER_EVENTFD, &event, 1);",
        "has an eventfd registered",
    ),
}


@pytest.fixture
def task(c_program: Any, start: Any) -> Any:
    """`task(body)`: a process that `body` has set up."""

    def run(body: str) -> Any:
        process = start(c_program(PROGRAM.replace("BODY", body), "-Wno-unused-function"))
        wait(lambda: process.log.read_bytes().endswith(b"\n"))
        assert process.log.read_text() == "ready\n"
        return process

    return run


def test_refused_before_the_freeze(task: Any, criu: Criu, images: str) -> None:
    """All at once; the process runs on."""
    process = task(BEFORE)
    lines = criu("dump", "-t", str(process.pid), "-D", images, check=False).stderr.splitlines()
    for fd, why in WHY.items():
        about = [line for line in lines if f"fd {fd} (io_uring" in line]
        assert len(about) == 1 and why in about[0] and "preflight" in about[0], (fd, lines)
    assert len(lines) == len(WHY)
    finish(process)


@pytest.mark.parametrize("what", LATE)
def test_refused_when_frozen(what: str, task: Any, criu: Criu, images: str) -> None:
    body, why = LATE[what]
    process = task(body)
    assert why in refused(criu, "dump", "-t", str(process.pid), "-D", images)
    finish(process)


def test_images(task: Any, criu: Criu, capsys: pytest.CaptureFixture[str], images: str) -> None:
    """crit shows a ring; one that contradicts itself is named, and nothing is made."""
    process = task("return submit(ring(0), IORING_OP_NOP, NULL, 5);")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    assert crit(["show", f"{images}/files.img"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (ring,) = (entry["io_uring"] for entry in shown["entries"] if entry["type"] == "IO_URING")
    assert (ring["requests"], ring["sq_tail"], ring["cq_head"], ring["sq_entries"]) == (5, 5, 0, 4)
    store = Images.open(Schema(), images)
    whole = store.read("FILES")
    for field, value in (("sqes", b"x" * 257), ("cq_head", 6)):
        entries = [type(entry).FromString(entry.SerializeToString()) for entry in whole]
        (entry,) = (entry for entry in entries if entry.HasField("io_uring"))
        setattr(entry.io_uring, field, value)
        store.write("FILES", (), entries)
        assert "contents that do not fit its size" in refused(criu, "restore", "-d", "-D", images)
    store.write("FILES", (), whole)
    store.close()
    criu("restore", "-d", "-S", "-D", images)
    end_restored(process.pid)
