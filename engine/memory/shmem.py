"""Contents of shared memory: pagemap-shmem-SHMID.img and its pages image, once for each object, whoever maps it.

What an object is (shared anonymous memory, a memfd) is told by engine/files/memfd.py. The object is asked for its
pages, not the page tables of those who map it, and it is filled by the opener before anybody maps it.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError, Unsupported
from engine.images.pagemap import PE_PARENT, PE_PRESENT
from engine.kernel import pagemap, shmem
from engine.kernel.shmem import PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images
    from engine.kernel.memory import Runs


class Contents:
    """The objects of a dump. `scanned` and `written` are in pages."""

    __slots__ = ("_found", "_objects", "message", "scanned", "written")

    def __init__(self, message: Any) -> None:
        self.message = message  # the schema's accessor
        self.scanned = self.written = 0
        self._objects: list[tuple[int, str, int, int]] = []
        self._found: list[tuple[int, Any, Runs]] = []

    def add(self, shmid: int, where: str, size: int, huge: int) -> None:
        """One more object of `size` bytes, to which the link `where` leads while the tree is frozen.

        `huge` is the size of its pages where it is of hugetlbfs, else 0.
        """
        self._objects.append((shmid, where, size, huge))

    def dump(self, images: Images, number: int) -> int:
        """Copy them, while the tree is frozen; the pages images have numbers from `number` on. Returns the next."""
        for shmid, where, size, huge in self._objects:
            if size:
                self._dump(images, number, shmid, where, size, huge)
                number += 1
        return number

    def _dump(self, images: Images, number: int, shmid: int, where: str, size: int, huge: int) -> None:
        try:
            fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise KernelError(f"open({where})", e.errno or 0, f"shared memory {shmid}") from e
        out = images.create_raw("PAGES", number)
        try:
            runs = shmem.runs(fd, size, huge)
            name = images.name("PAGES", number)
            shmem.dump(fd, size, huge, out, runs, f"shared memory {shmid} into {images.path}/{name}")
        finally:
            os.close(fd)
            os.close(out)
        self.written += sum(count for _, count, _ in runs)
        self.scanned += -(-size // PAGE)
        self._found.append((shmid, self.message("pagemap_head")(pages_id=number), runs))

    def write(self, images: Images) -> None:
        """Write the pagemaps. The tree need not be frozen for this."""
        for shmid, head, runs in self._found:
            images.write_chunks("SHMEM_PAGEMAP", (shmid,), head, pagemap.encode(runs))


def check(images: Images, shmid: int, size: int) -> None:
    """BadImage where the pagemap of an object of `size` bytes is missing or wrong, before anything is made of it."""
    name = images.name("SHMEM_PAGEMAP", shmid)
    if not size:
        return
    _, found = images.pagemap("SHMEM_PAGEMAP", shmid)
    end = 0
    for start, pages, flags in found:
        if start % PAGE or start < end:
            raise BadImage(name, 0, f"pages from {start:#x} on are not in ascending order; dump again")
        end = start + pages * PAGE
        if end > -(-size // PAGE) * PAGE:
            raise BadImage(name, 0, f"pages up to {end:#x}, but the object has {size} bytes; dump again")
        if flags & PE_PARENT:
            raise Unsupported([f"{name}: pages in a parent image (incremental dumps) are not supported yet"])


def load(images: Images, shmid: int, fd: int, size: int, huge: int) -> None:
    """Fill the object `fd` of `size` bytes; what no image has stays a hole."""
    if not size:
        return
    head, found = images.pagemap("SHMEM_PAGEMAP", shmid)
    parts = [(start, pages) for start, pages, flags in found if flags & PE_PRESENT]
    if not parts:
        return
    source = images.open_raw("PAGES", head.pages_id)
    try:
        shmem.load(fd, size, huge, source, 0, parts, f"shared memory {shmid} from pages-{head.pages_id}.img")
    finally:
        os.close(source)
