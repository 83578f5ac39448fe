"""CRC32C (Castagnoli, RFC 3720 B.4) of a file, in native code."""

from engine.kernel._native import ffi, lib
from engine.kernel.call import check


def crc32c(fd: int, name: str, limit: int = 0, period: int = 1, table: bool = False) -> int:
    """Of every `period`th byte, the first included, of the first `limit` bytes (0: of all); KernelError as of pread(2).

    `name` is the file's in errors; `table`: in plain C, where the CPU has an instruction too.
    """
    crc = ffi.new("unsigned *")
    check(lib.zd_crc32c(fd, limit, period, table, crc), f"reading {name}")
    return int(crc[0])
