"""A container-like workload: ten tasks in namespaces of their own, twenty mounts, a network device of the machine's."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from workload import Workload, below

PROGRAM = "contained"  # worker.c, without libraries: there are none in its root
_OUTER = "zdtm-bench0"  # the other end of its veth(4)


class Container(Workload):
    """Its root is the directory of the program, a mount point until `close`."""

    def __init__(self, program: Path, name: str) -> None:
        root = program.parent
        subprocess.run(["mount", "--bind", root, root], check=True)
        subprocess.run(["mount", "--make-private", root], check=True)
        self.root = root
        self.dump_options = ("--root", str(root))
        self.restore_options = ("--root", str(root), "--external", f"veth[eth0]:{_OUTER}")
        try:
            super().__init__(program.with_name(PROGRAM), name)
        except BaseException:
            self.close()
            raise

    def started(self) -> None:
        """The first process is adopted when that which made it has ended; give it a network device."""
        os.waitpid(self.pid, 0)
        self.restored()
        for command in (
            f"ip link add {_OUTER} type veth peer name eth0 netns {self.pid}",
            f"ip link set {_OUTER} up",
            f"nsenter -n -t {self.pid} ip address add 10.1.2.3/24 dev eth0",
            f"nsenter -n -t {self.pid} ip link set eth0 up",
        ):
            subprocess.run(command.split(), check=True)

    def dumped(self) -> None:
        """The kernel takes its network namespace away some time after its last process."""
        while Path(f"/sys/class/net/{_OUTER}").exists():
            time.sleep(0.001)

    def restored(self) -> None:
        """The first process has another pid outside of its namespace each time."""
        self.pid = next(pid for pid in below(os.getpid()) if _parent(pid) == os.getpid())

    def close(self) -> None:
        """All tasks are gone: so is its root."""
        self.dumped()
        subprocess.run(["umount", "--lazy", self.root], check=True)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
