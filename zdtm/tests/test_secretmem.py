"""Images of secret memory (memfd_secret(2)) that are bad: named, and nothing is made."""

from __future__ import annotations

from pathlib import Path

from engine.context import Schema
from engine.images.files import Images
from zdtm.tests.tasks import Criu, end_restored, refused, wait

PROGRAM = """
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static char *at;
static void end(int sig) { _exit(sig != SIGTERM || strcmp(at + 4096, "secret") != 0); }
int main(void)
{
    int fd = syscall(447, 0);
    if (fd < 0 || ftruncate(fd, 8192))
        return 1;
    at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(at + 4096, "secret");
    signal(SIGTERM, end);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""


def test_bad_contents(criu: Criu, c_program, start, images: str) -> None:  # type: ignore[no-untyped-def]
    """Truncated, beyond the end, of another file; then right."""
    process = start(c_program(PROGRAM))
    wait(lambda: process.log.read_bytes() == b"ready\n")
    criu("dump", "-t", str(process.pid), "-D", images)
    process.wait()
    image = Path(images, "secretmem.img")
    whole = image.read_bytes()
    store = Images.open(Schema(), images)
    [(entry, contents)] = store.read_payload("SECRETMEM")
    assert (entry.offset, entry.bytes, contents[:7], contents.count(b"\0")) == (4096, 4096, b"secret\0", 4090)
    for size in (len(whole) - 1, 20, 9):
        image.write_bytes(whole[:size])
        line = refused(criu, "restore", "-d", "-D", images)
        assert "secretmem.img" in line and "truncated" in line
    for field, value in (("offset", 4097), ("id", 9999)):
        other = type(entry).FromString(entry.SerializeToString())
        setattr(other, field, value)
        store.write_payload("SECRETMEM", (), [(other, contents)])
        assert "has no such place" in refused(criu, "restore", "-d", "-D", images)
    store.close()
    image.write_bytes(whole)
    criu("restore", "-d", "-S", "-D", images)
    end_restored(process.pid)
