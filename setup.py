"""Build steps that pyproject.toml cannot say: the blobs, the image descriptors and the cffi module."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildAll(build_ext):
    """Also build what `engine/_built/` holds: descriptors.bin and, per architecture, the blobs."""

    def run(self) -> None:
        super().run()
        in_tree = self.inplace or getattr(self, "editable_mode", False)
        out = (Path() if in_tree else Path(self.build_lib)) / "engine" / "_built"
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "blobs/build.py", str(out)], check=True)
        protos = sorted(str(p) for p in Path("engine/images/proto").glob("*.proto"))
        if protos:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "grpc_tools.protoc",
                    "-Iengine/images/proto",
                    "--include_imports",
                    f"--descriptor_set_out={out / 'descriptors.bin'}",
                    *protos,
                ],
                check=True,
            )


setup(cmdclass={"build_ext": BuildAll}, cffi_modules=["engine/kernel/build_native.py:ffibuilder"])
