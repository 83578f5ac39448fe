"""What epoll, inotify and fanotify watch: refusals with remedies, names by searching, the plan of registrations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zdtm.tests.tasks import Criu, wait

HEAD = """
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct iocb request = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = POLLIN}, *requests[] = {&request};
    struct epoll_event event = {.events = EPOLLIN};
    int i, wd = 0, fd, watch, ep = epoll_create1(0);
    aio_context_t context = 0;
"""
TAIL = """
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""
NOBODY = """
    fd = request.aio_fildes = eventfd(0, 0);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    syscall(SYS_io_setup, 1, &context);
    syscall(SYS_io_submit, context, 1, requests);
    close(fd);
"""
PERMISSION = """
    fd = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
    fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "watched");
"""
WATCH = """
    watch = inotify_init1(IN_NONBLOCK);
    inotify_add_watch(watch, "watched", IN_OPEN);
"""
NUMBERS = """
    fd = eventfd(0, 0);
    dup2(fd, 30);
    epoll_ctl(ep, EPOLL_CTL_ADD, 30, &event);
    close(30);
"""


@pytest.fixture
def watcher(c_program, start, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Starts a program with such a body, in a directory that has the file `watched`."""
    (tmp_path / "watched").touch()

    def run(body: str):  # type: ignore[no-untyped-def]
        source = HEAD + f'chdir("{tmp_path}");' + body + TAIL
        process = start(c_program(source, "-Wno-unused-result", "-Wno-unused-variable", "-Wno-unused-parameter"))
        wait(lambda: process.log.read_bytes() == b"ready\n")
        return process

    return run


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (NOBODY, "fd 3 (eventpoll anon_inode:[eventpoll]): what it watches as number 4"),
        (PERMISSION, "a mark lets it decide who may open files: nobody would while it is frozen; remove that mark"),
    ],
    ids=["nobody", "permission"],
)
def test_what_cannot_be_watched_again_is_refused(body: str, words: str, watcher, criu: Criu, images: str) -> None:  # type: ignore[no-untyped-def]
    process = watcher(body)
    done = criu("dump", "-t", str(process.pid), "-D", images, check=False)
    assert done.returncode == 1
    assert f"preflight: pid {process.pid}: fd" in done.stderr
    assert words in done.stderr
    assert os.listdir(images) == []
    assert process.poll() is None


def test_names_are_searched_where_they_are_said_to_be(watcher, criu: Criu, images: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    process = watcher(WATCH)
    dump = ("dump", "-R", "-t", str(process.pid), "-D", images, "--force-irmap")
    done = criu(*dump, check=False)
    assert done.returncode == 1
    inode = (tmp_path / "watched").stat().st_ino
    assert f"no name leads to what it watches (inode {inode} of device" in done.stderr
    assert "--irmap-scan-path" in done.stderr
    criu(*dump, "--irmap-scan-path", str(tmp_path))


def test_the_plan_puts_files_at_their_old_numbers(watcher, criu: Criu, images: str) -> None:  # type: ignore[no-untyped-def]
    process = watcher(NUMBERS)
    criu("dump", "-R", "-t", str(process.pid), "-D", images)
    plan = [line.split(None, 1)[1] for line in criu("restore", "--plan", "-D", images).stdout.splitlines()[1:]]
    at = next(i for i, line in enumerate(plan) if line.startswith("epoll_ctl(3, 1, 30,"))
    assert plan[at - 1].startswith("dup3(4, 30,")
    assert plan[at + 1].startswith("close(30)")
