"""Build script of `engine.kernel._native`: every C file of `native/`, declared once in `native/native.h`."""

import platform
import re
import subprocess
import sys
from pathlib import Path

from cffi import FFI

HERE = Path("engine/kernel/native")
# abi.h and arch.h, generated: the native side starts tasks and mirrors the arena's head with the blobs' own code.
BLOBS = Path("build/blobs")
subprocess.run([sys.executable, "blobs/build.py", str(BLOBS)], check=True)
# cffi's cdef takes declarations only: comments, preprocessor lines and static asserts are for the C side.
_NOT_CDEF = re.compile(r"/\*.*?\*/|^\s*#.*?$|^_Static_assert.*?;$", re.S | re.M)

ffibuilder = FFI()
ffibuilder.cdef(_NOT_CDEF.sub("", (HERE / "native.h").read_text()))
ffibuilder.set_source(
    "engine.kernel._native",
    '#include "native.h"',
    sources=sorted(str(p) for p in HERE.glob("*.c")),
    depends=sorted(str(p) for p in HERE.glob("*.h")),
    include_dirs=[str(HERE), str(BLOBS / platform.machine())],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-std=gnu11"],
)
