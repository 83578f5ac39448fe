"""The `criu` command: the only place that exits."""

import os
import sys

from engine.errors import BadOption, Bug, EngineError
from engine.log import ERROR, Log
from engine.options import HELP, Options, parse

VERSION = "4.2"


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `criu` script; returns the exit status."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
    except BadOption as e:
        Log(2, ERROR).error(str(e))
        return 1
    if options.help:
        print(HELP)
        return 0
    if options.version:
        print(f"Version: {VERSION}")
        return 0
    log = Log(2, options.verbosity)
    try:
        _open_log(options, log)
        return _run(options, log)
    except EngineError as e:
        _report(log, options, e)
    except KeyboardInterrupt:
        log.error("interrupted: nothing was changed")
    except MemoryError as e:
        log.error(f"out of memory: {e}")
    except OSError as e:
        log.error(f"{e.strerror}: {e.filename or 'a system call'} (errno {e.errno})")
    return 1


def _open_log(options: Options, log: Log) -> None:
    for name, what in ((options.images_dir, "images directory"), (options.work_dir, "work directory")):
        if name and not os.path.isdir(name):
            raise EngineError(f"{what} {name} does not exist; make it, or give another one")
    if options.log_file:
        path = os.path.join(options.work_dir, options.log_file)
        try:
            log.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise EngineError(f"cannot write the log file {path}: {e.strerror}") from e


def _run(options: Options, log: Log) -> int:
    command = options.command
    for name in options.permits:
        if name != "v":
            log.debug(f"--{name} is accepted; what it permits is not supported yet, and refused where it occurs")
    if command == "check":
        from engine import check

        return check.run(options, log)
    if command == "dump":
        from engine.context import Context
        from engine.dump import dump

        dump(Context(options, log))
        return 0
    if command == "restore":
        from engine.context import Context
        from engine.restore import restore, show_plan

        ctx = Context(options, log)
        if options.plan:
            print(show_plan(ctx))
            return 0
        pid = restore(ctx)
        if not options.restore_detached:
            os.waitpid(pid, 0)
        return 0
    if command == "cpuinfo":
        from engine import cpuinfo
        from engine.context import Context

        return cpuinfo.run(Context(options, log))
    raise BadOption(f"the command {command} is not supported yet")


def _report(log: Log, options: Options, e: EngineError) -> None:
    """One error line for each thing that is wrong; with a log file, on stderr as well."""
    from engine.errors import Unsupported

    lines = [f"preflight: {b}" for b in e.blockers] if isinstance(e, Unsupported) else [str(e)]
    if isinstance(e, Bug):
        lines.append("this is a defect of the engine: please report it with the log")
    for line in lines:
        log.error(line, e)
    if log.fd != 2:
        if options.command in ("dump", "restore") and not isinstance(e, Unsupported):
            log.error("Dumping FAILED." if options.command == "dump" else "Restoring FAILED.")
        err = Log(2, ERROR)
        for line in lines:
            err.error(line, e)


def script() -> None:
    """The `criu` script: main(), without the interpreter's own 4 ms of tidying up."""
    import gc

    gc.disable()  # it ends soon, and leaves no cycles worth the search
    status = main()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    script()
