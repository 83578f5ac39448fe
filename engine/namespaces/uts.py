"""UTS namespaces (uts_namespaces(7)): the names of host and NIS domain; utsns-ID.img."""

from __future__ import annotations

import os

from engine.errors import BadImage
from engine.images.schema import set_text, text
from engine.kernel.namespaces import entered, set_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.table import Namespace

_IMAGE = "UTSNS"
_DOMAIN = "/proc/sys/kernel/domainname"
_MAX = 64  # bytes


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """Any can be dumped."""
    return []


def dump(ctx: Context, images: Images, ns: Namespace) -> None:
    """Write utsns-ID.img."""
    with entered(ns.pid, "uts"):
        host = os.uname().nodename
        with open(_DOMAIN, encoding="utf-8", errors="surrogateescape") as f:
            domain = f.read().rstrip("\n")
    entry = ctx.schema.message("utsns_entry")()
    set_text(entry, "nodename", host)
    set_text(entry, "domainname", domain)
    images.write(_IMAGE, (ns.ident,), [entry])


def restore(ctx: Context, images: Images, ident: int) -> None:
    """Set both names, in the namespace that this process is in."""
    entry = images.read_one(_IMAGE, ident)
    host, domain = (os.fsencode(text(value)) for value in (entry.nodename, entry.domainname))
    if max(len(host), len(domain)) > _MAX:
        raise BadImage(images.name(_IMAGE, ident), 0, f"a name in it has more than {_MAX} bytes")
    set_names(host, domain)
