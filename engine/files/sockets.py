"""What sockets of all families have in common: which module is whose, network namespaces, options; sk_opts_entry."""

from __future__ import annotations

import errno
import os
import struct

from engine.blocks import closing, suppress
from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import Descriptor
from engine.files.held import Held
from engine.kernel import sockets
from engine.kernel.namespaces import FLAGS, setns, within
from engine.kernel.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.tasks.opener import Opener

_TIME = struct.Struct("@ll")
_LINGER = struct.Struct("@ii")
_IFNAMSIZ = 16
_INT_MAX = (1 << 31) - 1
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_IMAGE = "files.img"

_PROTOCOL = "system.sockprotoname"
# its name -> module of engine/files
_KINDS = {
    b"UDP": "inet",
    b"UDP-Lite": "inet",
    b"UDPv6": "inet",
    b"UDPLITEv6": "inet",
    b"UNIX": "unix",  # datagrams and sequenced packets
    b"UNIX-STREAM": "unix",
}
# Options that have fields of their own: field -> number; true ones are what they are not by themselves.
_BOOLS = {
    "reuseaddr": so.SO_REUSEADDR,
    "so_reuseport": so.SO_REUSEPORT,
    "so_passcred": so.SO_PASSCRED,
    "so_passsec": so.SO_PASSSEC,
    "so_dontroute": so.SO_DONTROUTE,
    "so_no_check": so.SO_NO_CHECK,
    "so_broadcast": so.SO_BROADCAST,
    "so_keepalive": so.SO_KEEPALIVE,
}
_NUMBERS = {"so_priority": so.SO_PRIORITY, "so_rcvlowat": so.SO_RCVLOWAT, "so_oobinline": so.SO_OOBINLINE}
# Those without a field: number, bytes. In the order in which they are set.
_MORE = (
    (so.SO_DEBUG, 4),
    (so.SO_TIMESTAMP, 4),
    (so.SO_TIMESTAMPNS, 4),
    (so.SO_TIMESTAMP_NEW, 4),
    (so.SO_TIMESTAMPNS_NEW, 4),
    (so.SO_TIMESTAMPING, 8),
    (so.SO_TIMESTAMPING_NEW, 8),
    (so.SO_RXQ_OVFL, 4),
    (so.SO_WIFI_STATUS, 4),
    (so.SO_PEEK_OFF, 4),
    (so.SO_NOFCS, 4),
    (so.SO_SELECT_ERR_QUEUE, 4),
    (so.SO_BUSY_POLL, 4),
    (so.SO_ZEROCOPY, 4),
    (so.SO_TXTIME, 8),
    (so.SO_PREFER_BUSY_POLL, 4),
    (so.SO_RCVMARK, 4),
    (so.SO_PASSPIDFD, 4),
    (so.SO_RCVPRIORITY, 4),
    (so.SO_PASSRIGHTS, 4),
    (so.SO_INQ, 4),
)


def module_of(d: Descriptor) -> str | None:
    """The module for a socket, by its protocol; None for one that is not supported, and for a mere path. OSError."""
    return None if d.flags & os.O_PATH else _KINDS.get(os.getxattr(d.path, _PROTOCOL).rstrip(b"\0"))


def family_of(fd: int) -> tuple[int, int, int]:
    """Family, type and protocol of a socket."""
    family, kind, protocol = (
        sockets.number(fd, so.SOL_SOCKET, name) or 0 for name in (so.SO_DOMAIN, so.SO_TYPE, so.SO_PROTOCOL)
    )
    return family, kind, protocol


def net_ns(fd: int) -> int:
    """The inode of the network namespace that a socket was made in."""
    return sockets.net_inode(fd)


def dump_ns(fd: int, entry: Any, what: str, scope: Scope, is_told: bool = True) -> None:
    """Fill ns_id; CRIU does not tell it of some, which are the root task's then: unless `is_told`."""
    ns = scope.namespaces.find("net", net_ns(fd))
    if ns is None:
        raise Unsupported([f"{what}: its network namespace came while the tree was being frozen; dump again"])
    if is_told or ns is not scope.namespaces.of("net", scope.root_pid):
        entry.ns_id = ns.ident


def check_options(fd: int, what: str) -> None:
    """Unsupported for options that cannot be dumped."""
    try:
        sockets.get_filter(fd)
    except KernelError as e:
        if e.errno != errno.EACCES:
            raise
        raise Unsupported(
            [f"{what}: it has an eBPF filter (SO_ATTACH_BPF), which is not supported: detach it before the dump"]
        ) from e


def dump_options(
    fd: int,
    opts: Any,
    more: Iterable[tuple[int, int, int]] = (),
    known: dict[tuple[int, ...], list[bytes]] | None = None,
) -> None:
    """Fill a sk_opts_entry by a copy of the descriptor; `more` (level, number, bytes): options without fields.

    `known` remembers, for the next one, what new sockets of a kind have.
    """

    def number(name: int) -> int:
        return sockets.number(fd, so.SOL_SOCKET, name) or 0

    opts.so_sndbuf, opts.so_rcvbuf = number(so.SO_SNDBUF), number(so.SO_RCVBUF)
    opts.so_snd_tmo_sec, opts.so_snd_tmo_usec = _TIME.unpack(_bytes(fd, so.SO_SNDTIMEO, _TIME.size))
    opts.so_rcv_tmo_sec, opts.so_rcv_tmo_usec = _TIME.unpack(_bytes(fd, so.SO_RCVTIMEO, _TIME.size))
    for field, name in _BOOLS.items():
        value = sockets.number(fd, so.SOL_SOCKET, name)
        if value is not None:
            setattr(opts, field, bool(value))
    for field, name in _NUMBERS.items():
        setattr(opts, field, number(name))
    if mark := number(so.SO_MARK):
        opts.so_mark = mark & 0xFFFFFFFF
    opts.so_buf_lock = number(so.SO_BUF_LOCK)
    is_on, seconds = _LINGER.unpack(_bytes(fd, so.SO_LINGER, _LINGER.size))
    if is_on:
        opts.so_linger = seconds
    if device := _bytes(fd, so.SO_BINDTODEVICE, _IFNAMSIZ):
        opts.so_bound_dev = os.fsdecode(device.partition(b"\0")[0])
    opts.so_filter.extend(map(_image_word, sockets.get_filter(fd)))
    if number(so.SO_LOCK_FILTER):
        opts.lock_filter = True
    wanted = (*((so.SOL_SOCKET, *its) for its in _MORE), *more)
    key = (net_ns(fd), *family_of(fd))
    usual = known.get(key) if known is not None else None
    if usual is None:
        blank = _blank(fd)
        usual = sockets.get_all(blank, wanted)
        os.close(blank)
        if known is not None:
            known[key] = usual
    for (level, name, _), raw, its in zip(wanted, sockets.get_all(fd, wanted), usual, strict=True):
        if raw != its and (found := sockets.value_of(raw)) is not None:
            opts.more.add(level=level, name=name, value=found)


def _bytes(fd: int, name: int, size: int) -> bytes:
    return sockets.get(fd, so.SOL_SOCKET, name, size) or b""


def _blank(fd: int) -> int:
    """A socket of the same kind with nothing set, where that one was made."""
    ns = sockets.net_ns(fd)
    try:
        with within(ns, "net"):
            return sockets.make(*family_of(fd))
    finally:
        os.close(ns)


def restore_options(fd: int, opts: Any, what: str, more: Iterable[tuple[int, int, int]] = ()) -> None:
    """Set what is not so by itself, before the socket is bound; `what` names it in errors. BadImage, KernelError.

    `more` is what `dump_options` was given: other options are not set.
    """
    check(opts, what, more)
    for its in opts.more:  # first: a type of service sets a priority
        if sockets.get(fd, its.level, its.name, len(its.value)) != its.value:
            sockets.put(fd, its.level, its.name, its.value, what)
    _restore_buffers(fd, opts, what)
    for name, seconds, usec in (
        (so.SO_SNDTIMEO, opts.so_snd_tmo_sec, opts.so_snd_tmo_usec),
        (so.SO_RCVTIMEO, opts.so_rcv_tmo_sec, opts.so_rcv_tmo_usec),
    ):
        if seconds or usec:
            sockets.put(fd, so.SOL_SOCKET, name, _TIME.pack(seconds, usec), what)
    for field, name in {**_BOOLS, **_NUMBERS, "so_mark": so.SO_MARK}.items():
        if opts.HasField(field):
            _set(fd, name, int(getattr(opts, field)), what)
    if opts.HasField("so_linger"):
        sockets.put(fd, so.SOL_SOCKET, so.SO_LINGER, _LINGER.pack(1, opts.so_linger), what)
    if opts.so_bound_dev:
        sockets.put(fd, so.SOL_SOCKET, so.SO_BINDTODEVICE, os.fsencode(opts.so_bound_dev) + b"\0", what)
    if opts.so_filter:
        sockets.attach_filter(fd, [_kernel_word(word) for word in opts.so_filter], what)
    if opts.lock_filter:
        sockets.put(fd, so.SOL_SOCKET, so.SO_LOCK_FILTER, 1, what)


def check(opts: Any, what: str, more: Iterable[tuple[int, int, int]] = ()) -> None:
    """BadImage for a sk_opts_entry with values that no socket has."""
    known = {(so.SOL_SOCKET, name): size for name, size in _MORE} | {its[:2]: its[2] for its in more}
    for its in opts.more:
        if len(its.value) > known.get((its.level, its.name), -1):
            said = f"option {its.name} of level {its.level} with {len(its.value)} bytes"
            raise BadImage(_IMAGE, 0, f"{what}: {said}: there is none such; dump again")
    limits = {"so_linger": _INT_MAX, "so_rcvlowat": _INT_MAX, "so_buf_lock": 3}
    for field, most in limits.items():
        if getattr(opts, field) > most:
            raise BadImage(_IMAGE, 0, f"{what}: {field} is {getattr(opts, field)}: too large; dump again")
    for field in ("so_snd_tmo", "so_rcv_tmo"):
        if getattr(opts, f"{field}_sec") >> 62 or getattr(opts, f"{field}_usec") >= 1_000_000:
            raise BadImage(_IMAGE, 0, f"{what}: {field} is no time; dump again")
    if len(opts.so_filter) > _MOST_INSTRUCTIONS:
        raise BadImage(_IMAGE, 0, f"{what}: a filter of {len(opts.so_filter)} instructions; dump again")
    if len(os.fsencode(opts.so_bound_dev)) >= _IFNAMSIZ:
        raise BadImage(_IMAGE, 0, f"{what}: no device can be called {opts.so_bound_dev!r}; dump again")


def _restore_buffers(fd: int, opts: Any, what: str) -> None:
    """The kernel tells twice of what is asked for; that they were asked for (SO_BUF_LOCK) keeps it from tuning them."""
    for name, force, size in (
        (so.SO_SNDBUF, so.SO_SNDBUFFORCE, opts.so_sndbuf),
        (so.SO_RCVBUF, so.SO_RCVBUFFORCE, opts.so_rcvbuf),
    ):
        if sockets.number(fd, so.SOL_SOCKET, name) == size:
            continue
        sockets.put(fd, so.SOL_SOCKET, name, size // 2, what)
        if sockets.number(fd, so.SOL_SOCKET, name) != size:  # more than net.core allows to everybody
            sockets.put(fd, so.SOL_SOCKET, force, size // 2, what)
    if opts.HasField("so_buf_lock"):
        _set(fd, so.SO_BUF_LOCK, opts.so_buf_lock, what)


def _set(fd: int, name: int, value: int, what: str) -> None:
    """One that is an int, if it is not so."""
    if (sockets.number(fd, so.SOL_SOCKET, name) or 0) & 0xFFFFFFFF != value:
        sockets.put(fd, so.SOL_SOCKET, name, value, what)


def _image_word(word: int) -> int:
    """struct sock_filter as images have it: code, jt, jf and k, the code uppermost."""
    code, jt, jf, k = struct.unpack("=HBBI", struct.pack("=Q", word))
    return int(code << 48 | jt << 40 | jf << 32 | k)


def _kernel_word(word: int) -> int:
    raw = struct.pack("=HBBI", word >> 48, word >> 40 & 0xFF, word >> 32 & 0xFF, word & 0xFFFFFFFF)
    return int(struct.unpack("=Q", raw)[0])


class Survey:
    """What sock_diag(7) says of a tree's sockets of one family, and the network namespaces that they were made in.

    One that no task is in is held for the dump (held.py).
    """

    __slots__ = ("_lists", "_scope", "its")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.its: dict[int, Descriptor] = {}  # by inode
        self._lists: dict[int, dict[int, Any]] = {}  # by inode of the network namespace

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self.its.setdefault(d.ino, d)

    def ask(self) -> dict[int, Any]:
        """All sockets of the family in the namespace that the engine is in, by inode. KernelError."""
        raise NotImplementedError

    def listed(self, ns: int) -> dict[int, Any]:
        """The same of that which a descriptor is of; asked once."""
        inode = os.fstat(ns).st_ino
        if inode not in self._lists:
            with within(ns, "net"):
                self._lists[inode] = self.ask()
        return self._lists[inode]

    def beside(self, ino: int) -> dict[int, Any]:
        """All in the namespace of a socket, itself among them; nothing where it is in no list."""
        return next((rows for rows in self._lists.values() if ino in rows), {})

    def blockers(self, pids: set[int]) -> list[str]:
        """Namespaces that cannot be entered; `pids` are those of all threads of the tree.

        A socket that no list has is asked itself where it is: it has no name or port that a copy could keep.
        """
        out = []
        for pid in pids:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                self._look(f"/proc/{pid}/ns/net")
        for d in self.its.values():
            if self.beside(d.ino):
                continue
            try:
                with closing(Held(d)) as held:
                    ns = sockets.net_ns(held.fd)
            except KernelError:
                if not d.is_gone():
                    raise
                continue
            inode = os.fstat(ns).st_ino
            if inode in self._lists or inode == self._scope.namespaces.own["net"].inode:
                os.close(ns)
                continue
            out += self._scope.hold_of(d, "its network namespace", "net", inode, ns)
        return out

    def _look(self, path: str) -> None:
        if os.stat(path).st_ino not in self._lists:
            ns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.listed(ns)
            finally:
                os.close(ns)

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


class in_net:
    """A context in the network namespace of the images that a socket belongs to (ns_id); 0: the root task's.

    BadImage for one that is not there.
    """

    __slots__ = ("_its", "_own")

    def __init__(self, opener: Opener, ident: int) -> None:
        self._own = opener.entered.get(("net", opener.namespaces["net"]))
        self._its = opener.namespace_fd("net", ident) if ident and opener.entered else self._own

    def __enter__(self) -> None:
        if self._its is not None and self._its != self._own:
            setns(self._its, FLAGS["net"])

    def __exit__(self, *rest: object) -> None:
        if self._own is not None and self._its != self._own:
            setns(self._own, FLAGS["net"])
