"""Sockets: addresses that are taken, what waits in them, images of somebody else's that no socket can be made of."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.images.files import Images
from engine.images.schema import Schema
from zdtm.tests.tasks import Criu, refused, wait

Bound = tuple[Any, int]  # a process, its port

SOURCE = """
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(where);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    bind(fd, (struct sockaddr *)&where, length);
    getsockname(fd, (struct sockaddr *)&where, &length);
    printf("%u\\n", ntohs(where.sin_port));
    fflush(stdout);
    for (;;)
        pause();
}
"""


@pytest.fixture
def bound(c_program: Callable[..., Path], start: Callable[..., Any]) -> Bound:
    """A task with a UDP socket, and the port of that."""
    process = start(c_program(SOURCE))
    wait(lambda: process.log.read_bytes().endswith(b"\n"))
    return process, int(process.log.read_bytes())


def test_taken(criu: Criu, bound: Bound, images: str) -> None:
    """Who has it is left alone, and when it is free the restore goes."""
    process, port = bound
    criu("dump", "-t", str(process.pid), "-D", images, "--shell-job")
    process.wait()
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        said = refused(criu, "restore", "-d", "-D", images, "--shell-job")
        assert f"UDP address 127.0.0.1:{port} is taken by a socket outside of the tree" in said
        assert other.getsockname() == ("127.0.0.1", port) and not Path(f"/proc/{process.pid}").exists()
    criu("restore", "-d", "--restore-sibling", "-D", images, "--shell-job")
    with socket.socket(type=socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def test_waiting(criu: Criu, bound: Bound, images: str) -> None:
    """What waits is not lost by a tree that runs on, and is said to be in a dump."""
    process, port = bound
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b"waits", ("127.0.0.1", port))
    criu("dump", "-R", "-t", str(process.pid), "-D", images, "--shell-job", "-o", "log")
    assert "datagrams wait in it" in Path(images, "log").read_text()


def tcp(isk: Any) -> None:
    isk.type, isk.proto = 1, 6


def two_words(isk: Any) -> None:
    isk.src_addr.append(1)


def far_port(isk: Any) -> None:
    isk.src_port = 65536


def listening(isk: Any) -> None:
    isk.state = 10


def unknown_option(isk: Any) -> None:
    isk.opts.more.add(level=0, name=64, value=b"\0" * 64)  # which would be a table of iptables


def long_option(isk: Any) -> None:
    isk.opts.more.add(level=0, name=11, value=b"\0" * 5)


def long_device(isk: Any) -> None:
    isk.opts.so_bound_dev = "0123456789abcdef"


def no_time(isk: Any) -> None:
    isk.opts.so_rcv_tmo_usec = 1_000_000


def long_filter(isk: Any) -> None:
    isk.opts.so_filter.extend([6 << 48] * 4097)


def bad_filter(isk: Any) -> None:
    isk.opts.so_filter.append(0xFFFF << 48)


def no_device(isk: Any) -> None:
    isk.opts.so_bound_dev = "znone"


def wide_group(isk: Any) -> None:
    isk.groups.add(ifname="lo", address=b"\xff\x01" + bytes(14))


def no_group(isk: Any) -> None:
    isk.groups.add(ifname="znone", address=bytes((239, 1, 2, 3)))


def other_owner(isk: Any) -> None:
    isk.fown.pid = 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tcp, "sockets of family 2, type 1, protocol 6 are not supported yet"),
        (two_words, "src_addr of 2 words"),
        (far_port, "port 65536"),
        (listening, "no UDP socket has state 10"),
        (unknown_option, "option 64 of level 0 with 64 bytes: there is none such"),
        (long_option, "option 11 of level 0 with 5 bytes"),
        (long_device, "no device can be called '0123456789abcdef'"),
        (no_time, "so_rcv_tmo is no time"),
        (long_filter, "a filter of 4097 instructions"),
        (bad_filter, "SO_ATTACH_FILTER"),
        (no_device, "No such device"),
        (wide_group, "a multicast group of addresses of [16] bytes"),
        (no_group, "there is no device 'znone'"),
        (other_owner, "its owner 1 (F_SETOWN) is not in the tree"),
    ],
)
def test_foreign(criu: Criu, bound: Bound, images: str, change: Callable[[Any], None], says: str) -> None:
    process, _ = bound
    criu("dump", "-R", "-t", str(process.pid), "-D", images, "--shell-job")
    process.kill()
    process.wait()
    read = Images.open(Schema(), images)
    entries = read.read("FILES")
    change(next(entry.isk for entry in entries if entry.HasField("isk")))
    read.write("FILES", (), entries)
    assert says in refused(criu, "restore", "-d", "-D", images, "--shell-job")
    assert not Path(f"/proc/{process.pid}").exists()
