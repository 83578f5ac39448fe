import sys

from zdtm import volumes
from zdtm.failures import Skipped

clean = volumes.clean
# Looking for a name in there mounts it.
LOOK = """
import os, sys
from engine.kernel import namespaces
namespaces.setns(os.open(sys.argv[1], os.O_RDONLY), namespaces.FLAGS["mnt"])
os.stat("/scratch/debug/tracing/.")
"""


def prepare(o):
    volumes.make(o, "tracing", "tracefs", "tracefs")
    o.give(volumes.make(o, "debug", "debugfs"), "/scratch/debug")
    o.host(sys.executable, "-c", LOOK, f"/proc/{o.pid}/ns/mnt")
    if "/scratch/debug/tracing" not in volumes.points(o):
        raise Skipped("this kernel mounts no tracefs below debugfs")


def restored(o):
    assert "/scratch/debug/tracing" in volumes.points(o), "it is gone"
