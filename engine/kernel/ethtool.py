"""linux/ethtool.h: the features of network devices, by the ioctl; ethtool(8)."""

from __future__ import annotations

import os
import struct
from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
from fcntl import ioctl

from engine.blocks import closing
from engine.errors import KernelError
from engine.kernel._native import ffi

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES = 0x1B, 0x37, 0x3A
_FEATURES = 4  # ETH_SS_FEATURES
_NAME = 32  # bytes, ETH_GSTRING_LEN
_BLOCK = 32  # features in each struct ethtool_get_features_block


def requested(name: str) -> set[str]:
    """The features that somebody wants a device of this network namespace to have. KernelError."""
    with closing(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) as one:
        size = struct.unpack_from("=I", _ask(one, name, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _FEATURES, 0)), 16)[0]
        text = _ask(one, name, struct.pack("=III", _GSTRINGS, _FEATURES, size) + bytes(size * _NAME))[12:]
        blocks = -(-size // _BLOCK)
        bits = _ask(one, name, struct.pack("=II", _GFEATURES, blocks) + bytes(16 * blocks))[8:]
    words = [struct.unpack_from("=4I", bits, 16 * i)[1] for i in range(blocks)]  # available, requested, active, ...
    wanted = (i for i in range(size) if words[i // _BLOCK] >> i % _BLOCK & 1)
    return {os.fsdecode(text[i * _NAME : (i + 1) * _NAME].partition(b"\0")[0]) for i in wanted}


def _ask(one: socket, name: str, command: bytes) -> bytes:
    buffer = ffi.new("char[]", command)
    request = struct.pack("=16sQ16x", os.fsencode(name), int(ffi.cast("uintptr_t", buffer)))
    try:
        ioctl(one.fileno(), _SIOCETHTOOL, request)
    except OSError as e:
        raise KernelError(f"ioctl(SIOCETHTOOL, {command[0]:#x}) of {name}", e.errno or 0) from e
    return bytes(ffi.buffer(buffer, len(command)))
