"""What a round consists of; a mode is a sequence of these."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from zdtm import leftovers
from zdtm.failures import EngineFailed, Refused
from zdtm.images import check_page_count
from zdtm.observe.proc import alive, stat
from zdtm.waiting import reap, strays

if TYPE_CHECKING:
    from zdtm.run import Run


def dump(run: Run) -> None:
    """Write the images of the tree, which is gone afterwards."""
    outside = {pid for pid in strays(run.others) if pid != run.tree.root_pid}
    _dump(run, [])
    status = reap(run.tree.root_pid, run.seconds)
    if status is None:
        raise EngineFailed(f"dump succeeded, but pid {run.tree.root_pid} is still there")
    # What was below it is this process's now: as zombies they would keep their pids from the restore.
    if left := leftovers.processes(run.others | outside):
        raise EngineFailed("dump succeeded, but tasks of the tree are still there", "\n".join(left))
    run.hook.call("dumped")


def dump_leave_running(run: Run) -> None:
    """Write the images of the tree, which runs on."""
    _dump(run, ["--leave-running"])
    if not alive(run.tree.root_pid):
        raise EngineFailed("dump --leave-running succeeded, but the tree is gone")


def restore(run: Run) -> None:
    """Make the tree anew from its images, with the same pids."""
    pidfile = run.work / "pidfile"
    args = ["-d", "-D", str(run.images), "-W", str(run.work), "--pidfile", str(pidfile)]
    wrapper: tuple[str, ...] = ()
    root = run.tree.private_root
    if root is not None:
        args += ["--root", str(root)]
        # The root has to be a mount point. In mounts of the engine's own, the host's stay as they are; others share.
        bind_and_run = 'mount --make-private "$(stat -c %m "$0")" && mount --bind "$0" "$0" && exec "$@"'
        wrapper = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", bind_and_run, str(root))
    header = run.case.header
    args += [*header.opts, *header.restore, *(run.hook.call("restore_options") or ())]
    run.restore_engine.run("restore", args, run.work / "restore.log", run.seconds, wrapper=wrapper, env=run.env)
    old = run.tree.root_pid
    try:
        run.tree.root_pid = int(pidfile.read_text())
    except (OSError, ValueError) as error:
        raise EngineFailed(f"restore succeeded, but its pidfile does not hold a pid: {error}") from error
    if root is None and run.tree.root_pid != old:
        raise EngineFailed(f"pid {old} came back as {run.tree.root_pid}")
    if not alive(run.tree.root_pid):
        run.ended("right after the restore")
    if int(stat(run.tree.root_pid)[4]) != run.pid:
        raise EngineFailed(f"pid {run.tree.root_pid} is not an orphan after a detached restore")
    run.tree.find_test()
    run.hook.call("restored", run.tree.root_pid)


def _dump(run: Run, args: list[str]) -> None:
    for path in (run.images, run.work):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    where = ["-t", str(run.tree.root_pid), "-D", str(run.images), "-W", str(run.work)]
    header = run.case.header
    args = [*where, *args, *header.opts, *header.dump, *(run.hook.call("dump_options") or ())]
    try:
        run.dump_engine.run("dump", args, run.work / "dump.log", run.seconds, env=run.env)
    except Refused:  # of what is there no more nothing can be said
        if not alive(run.tree.root_pid):
            run.ended("before the dump")
        raise
    check_page_count(run.images, run.work)
