"""System V message queues, with their messages: ipcns-msg-ID.img.

Who sent and received last, and when, cannot be restored.
"""

from __future__ import annotations

from engine.errors import BadImage, KernelError
from engine.images import wire
from engine.kernel import proc, sysvipc
from engine.namespaces import sysv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.user import Ids

_IMAGE = "IPCNS_MSG"
_MSGMAX = "/proc/sys/kernel/msgmax"
_EINVAL = 22
_TYPE_MAX = (1 << 63) - 1
_QBYTES_MAX = (1 << 31) - 1  # kernel.msgmnb, as `ipc.restore` sets it


def dump(ctx: Context, images: Images, ident: int, ids: Ids) -> None:
    """Write all queues of the IPC namespace that the engine is in; without any, there is no image."""
    new = ctx.schema.message
    entries = []
    for row in sysvipc.listed(sysvipc.MSG):
        entry = new("ipc_msg_entry")(qnum=row["qnum"])
        number = sysv.describe(entry.desc, sysvipc.MSG, row, ids)
        entry.qbytes = sysvipc.queue_limit(number)
        messages = []
        for kind, text in _copies(number, row, ids):
            messages.append((new("ipc_msg")(mtype=kind, msize=len(text)), text, b""))
        entries.append((entry, wire.pack_ipc_messages(messages)))
    if entries:
        images.write_payload(_IMAGE, (ident,), entries)


def _copies(number: int, row: dict[str, int], ids: Ids) -> list[tuple[int, bytes]]:
    """The messages of a queue. Those that are longer than messages may be now are copied under another limit.

    That belongs to root inside of the namespace's user namespace, and nobody else may change it.
    """
    try:
        return sysvipc.msg_copies(number, row["qnum"], row["cbytes"])
    except KernelError as e:
        if e.errno != _EINVAL:
            raise
    before = proc.read_text(_MSGMAX)
    with sysvipc.creator(ids.uid_outside(0), ids.gid_outside(0)):
        try:
            _limit(str(row["cbytes"]))
            return sysvipc.msg_copies(number, row["qnum"], row["cbytes"])
        finally:
            _limit(before)


def _limit(text: str) -> None:
    with open(_MSGMAX, "wb") as f:
        f.write(text.encode())


def check(images: Images, ident: int) -> None:
    """BadImage for queues that cannot be."""
    if not sysv.check(images, _IMAGE, ident):
        return
    name = images.name(_IMAGE, ident)
    for entry, raw in images.read_payload(_IMAGE, ident):
        if entry.qbytes > _QBYTES_MAX:
            raise BadImage(name, 0, f"queue {entry.desc.id} holds {entry.qbytes} bytes, above any limit; dump again")
        for message, _, _ in wire.ipc_messages(images.schema, raw, name):
            if not 0 < message.mtype <= _TYPE_MAX:
                what = f"queue {entry.desc.id} has a message of type {message.mtype}, which none has; dump again"
                raise BadImage(name, 0, what)


def restore(ctx: Context, images: Images, ident: int) -> None:
    """Make them."""
    if not images.exists(_IMAGE, ident):
        return
    name = images.name(_IMAGE, ident)
    for entry, raw in images.read_payload(_IMAGE, ident):
        sysv.make(sysvipc.MSG, entry.desc, name, sysvipc.msgget)
        for message, content, _ in wire.ipc_messages(images.schema, raw, name):
            sysvipc.msgsnd(entry.desc.id, message.mtype, content)
        sysv.own(sysvipc.MSG, entry.desc, entry.qbytes)
