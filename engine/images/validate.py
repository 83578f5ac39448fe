"""A look at a whole directory of images before anything is made of it: each for itself, then against the others."""

from __future__ import annotations

from engine.errors import BadImage
from engine.images.table import COMMON, OWN, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images
    from engine.images.pagemap import Pagemap

_ENDED = (2, 6)  # task_core_entry.task_state: dead, zombie

# File numbers of these types belong to no entry of files.img: restore makes them of something else.
_NO_FILE = (65534, 65535)  # fd_types CTL_TTY, AUTOFS_PIPE


def validate_all(images: Images, page_size: int = 4096) -> None:
    """Read every image in the directory, and check that they agree. Raises the first BadImage.

    Entries without payload are kept for the reads to come. Left out are the statistics and the irmap cache, which
    describe a run and not the tree, and what is raw in somebody else's format. `page_size` is in bytes.
    """
    images.version()
    pagemaps: dict[int, list[Pagemap]] = {}
    found: dict[str, dict[int, list[Any]]] = {"CORE": {}, "FDINFO": {}, "PSTREE": {}, "FILES": {}}
    names: dict[str, str] = {}
    for name in images.names():
        match = by_name(name)
        if match is None or match[0].head not in (COMMON, OWN):
            continue
        image, ids = match
        if image.payload == "pagemap":
            head, runs = images.pagemap(image.kind, int(ids[0]))
            known = pagemaps.setdefault(head.pages_id, [])
            if runs not in known:  # tasks that share their memory have the same
                known.append(runs)
            names.setdefault(f"pages {head.pages_id}", name)
        elif image.payload:
            images.keep_spans(image.kind, *ids)
        else:
            entries = images.keep(image.kind, *ids)
            if image.kind in found:
                found[image.kind][int(ids[0]) if ids else 0] = entries
    for pages_id, known in pagemaps.items():
        count = sum(runs.stored for runs in known)
        _check_pages(images, names[f"pages {pages_id}"], pages_id, count * page_size)
    if 0 in found["PSTREE"]:
        _check_tree(found["PSTREE"][0], found["CORE"])
    if 0 in found["FILES"]:
        _check_files(found["FILES"][0], found["FDINFO"])


def _check_pages(images: Images, pagemap: str, pages_id: int, expected: int) -> None:
    """The pages image must be just as long as its pagemap says (bytes)."""
    if not expected and not images.exists("PAGES", pages_id):
        return
    size = images.size("PAGES", pages_id)
    if size != expected:
        what = "truncated" if size < expected else "longer than it should be"
        raise BadImage(
            images.name("PAGES", pages_id),
            min(size, expected),
            f"{what}: {size} bytes, {pagemap} says {expected}; dump again or copy the directory whole",
        )


def _check_tree(tree: list[Any], cores: dict[int, list[Any]]) -> None:
    """Every thread of the tree has its core image, and every core image is of a thread of the tree."""
    if not tree:
        raise BadImage("pstree.img", 0, "no task in it; dump again")
    threads: set[int] = set()
    for task in tree:
        threads.add(task.pid)
        core = cores.get(task.pid)
        if not (core and core[0].HasField("tc") and core[0].tc.task_state in _ENDED):
            threads.update(task.threads)  # of one that has ended CRIU leaves garbage there
    for tid in sorted(threads - cores.keys()):
        raise BadImage(f"core-{tid}.img", 0, "missing, but pstree.img names its thread; copy the directory whole")
    for tid in sorted(cores.keys() - threads):
        raise BadImage(
            "pstree.img", 0, f"thread {tid} is missing, but core-{tid}.img is here: truncated, or images of two dumps"
        )


def _check_files(files: list[Any], fdinfo: dict[int, list[Any]]) -> None:
    """Every file number is of a file in files.img."""
    known = {(file.type, file.id) for file in files}
    for ident, entries in fdinfo.items():
        for entry in entries:
            if entry.type not in _NO_FILE and (entry.type, entry.id) not in known:
                what = f"file {entry.id:#x} of type {entry.type} is missing, fdinfo-{ident}.img has it as {entry.fd}"
                raise BadImage("files.img", 0, f"{what}: truncated, or images of two dumps")
