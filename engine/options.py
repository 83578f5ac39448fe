"""Every way into the engine ends in one Options object: command line, RPC request, configuration file.

The command line is parsed here by a table, GNU style (clustered short options, unambiguous abbreviations, --no-FLAG):
argparse costs 8 ms of start-up.
"""

import os

from engine.errors import BadOption

COMMANDS = (
    "dump",
    "pre-dump",
    "restore",
    "check",
    "page-server",
    "service",
    "swrk",
    "dedup",
    "lazy-pages",
    "cpuinfo",
)

FLAG, NUMBER, TEXT, LIST, OPTIONAL = range(5)

# short, long, how it is given, attribute. An option without an attribute is known, but what it asks for is not
# supported yet: it is refused by name. "-" marks what only permits something that the preflight looks at anyway.
_TABLE: tuple[tuple[str, str, int, str], ...] = (
    ("t", "tree", NUMBER, "tree"),
    ("d", "restore-detached", FLAG, "restore_detached"),
    ("S", "restore-sibling", FLAG, "restore_sibling"),
    ("s", "leave-stopped", FLAG, "leave_stopped"),
    ("R", "leave-running", FLAG, "leave_running"),
    ("", "snapshot", FLAG, "snapshot"),
    ("", "share-pages", FLAG, "share_pages"),
    ("D", "images-dir", TEXT, "images_dir"),
    ("", "pidfile", TEXT, "pidfile"),
    ("W", "work-dir", TEXT, "work_dir"),
    ("o", "log-file", TEXT, "log_file"),
    ("", "log-pid", FLAG, ""),
    ("v", "verbosity", OPTIONAL, "verbosity"),
    ("", "display-stats", FLAG, "display_stats"),
    ("j", "shell-job", FLAG, "shell_job"),
    ("", "timeout", NUMBER, "timeout"),
    ("", "plan", FLAG, "plan"),
    ("", "extra", FLAG, "extra"),
    ("", "experimental", FLAG, "experimental"),
    ("", "all", FLAG, "all"),
    ("", "feature", LIST, "features"),
    ("h", "help", FLAG, "help"),
    ("V", "version", FLAG, "version"),
    ("", "config", TEXT, ""),
    ("", "no-default-config", FLAG, "-"),
    ("", "file-validation", TEXT, "file_validation"),
    ("", "checksum-parameter", NUMBER, "checksum_parameter"),
    ("", "skip-file-rwx-check", FLAG, "skip_file_rwx_check"),
    ("", "cpu-cap", OPTIONAL, "cpu_cap"),
    ("", "exec-cmd", FLAG, ""),
    ("", "freeze-cgroup", TEXT, ""),
    ("", "weak-sysctls", FLAG, "-"),
    ("", "lazy-pages", FLAG, ""),
    ("", "stream", FLAG, ""),
    ("", "mntns-compat-mode", FLAG, "-"),
    ("", "network-lock", TEXT, "-"),
    ("", "unprivileged", FLAG, "-"),
    ("", "allow-uprobes", FLAG, "allow_uprobes"),
    ("", "external", LIST, "-"),
    ("", "ext-unix-sk", OPTIONAL, "-"),
    ("", "tcp-established", FLAG, "-"),
    ("", "skip-in-flight", FLAG, "-"),
    ("", "tcp-close", FLAG, "-"),
    ("r", "root", TEXT, ""),
    ("", "evasive-devices", FLAG, "-"),
    ("", "link-remap", FLAG, "-"),
    ("", "ghost-limit", TEXT, "-"),
    ("", "ghost-fiemap", FLAG, "-"),
    ("", "action-script", LIST, ""),
    ("l", "file-locks", FLAG, "-"),
    ("L", "libdir", TEXT, "-"),
    ("", "force-irmap", FLAG, "-"),
    ("", "irmap-scan-path", LIST, "-"),
    ("", "manage-cgroups", OPTIONAL, "-"),
    ("", "cgroup-root", LIST, ""),
    ("", "cgroup-props", TEXT, ""),
    ("", "cgroup-props-file", TEXT, ""),
    ("", "cgroup-dump-controller", LIST, ""),
    ("", "cgroup-yard", TEXT, ""),
    ("", "lsm-profile", TEXT, ""),
    ("", "lsm-mount-context", TEXT, ""),
    ("", "skip-mnt", LIST, "-"),
    ("", "enable-fs", LIST, "-"),
    ("", "inherit-fd", LIST, ""),
    ("", "empty-ns", TEXT, ""),
    ("J", "join-ns", LIST, ""),
    ("", "track-mem", FLAG, ""),
    ("", "prev-images-dir", TEXT, ""),
    ("", "page-server", FLAG, ""),
    ("", "auto-dedup", FLAG, ""),
    ("", "pre-dump-mode", TEXT, ""),
    ("", "address", TEXT, ""),
    ("", "port", NUMBER, ""),
    ("", "ps-socket", NUMBER, ""),
    ("", "daemon", FLAG, ""),
    ("", "status-fd", NUMBER, ""),
    ("", "tls-cacert", TEXT, ""),
    ("", "tls-cacrl", TEXT, ""),
    ("", "tls-cert", TEXT, ""),
    ("", "tls-key", TEXT, ""),
    ("", "tls", FLAG, ""),
    ("", "tls-no-cn-verify", FLAG, ""),
)

DEFAULT_TIMEOUT = 10  # s
# How it is told at restore that a file has changed since the dump (engine/files/validation.py); the first: by default.
FILE_VALIDATION = ("buildid", "filesize", "checksum-full", "checksum", "checksum-period")

HELP = """\
Usage:
  criu dump -t PID [options]
  criu restore [options]
  criu check [--extra] [--experimental] [--all] [--feature NAME]
  criu cpuinfo dump|check [options]

Commands:
  dump            checkpoint the process PID
  restore         restore what was dumped
  check           tell whether this kernel can do it all
  cpuinfo dump    write down what this CPU offers
  cpuinfo check   tell whether this CPU offers what was written down

Options for dump and restore:
  -t, --tree PID            the process to dump
  -D, --images-dir DIR      where images are (default: the current directory)
  -W, --work-dir DIR        where logs, pidfiles and statistics go (default: the images directory)
  -o, --log-file FILE       log into FILE, in the work directory
  -v[NUM], --verbosity[=N]  0 messages, 1 errors, 2 warnings (default), 3 information with times, 4 debug
  -s, --leave-stopped       leave the process stopped after the dump, or the restore
  -R, --leave-running       leave the process running after the dump
      --share-pages         store pages that tasks share since a fork once; CRIU cannot restore such images
      --no-snapshot         with --leave-running: copy all memory while the process is frozen, not what is big
                            afterwards, from a copy-on-write clone
  -d, --restore-detached    end when the process runs again, instead of waiting for its end
  -S, --restore-sibling     restore the process as a child of the caller
      --pidfile FILE        write the root process's pid to FILE
  -j, --shell-job           the process's session leader is outside of the tree (a job of a shell)
      --plan                restore: print the program of every task, and do nothing
      --display-stats       print statistics
      --timeout SECONDS     give up freezing after that long (default: 10)
      --allow-uprobes       dump and restore a process that has met uprobes
      --file-validation HOW what is kept of files, and compared at restore: filesize; with it buildid (default; of
                            files without one that the tree does not write to, a checksum of the first 1024 bytes),
                            checksum-full, checksum (the first N bytes), checksum-period (every Nth byte)
                            At restore, filesize compares nothing else
      --checksum-parameter N  the N of checksum and checksum-period (default: 1024)
      --skip-file-rwx-check do not compare file modes at restore
      --cpu-cap[=WORDS]     write down, or compare, what the CPU offers: fpu, ins, cpu, all, none, ^WORD, with
                            commas between (default: all; of cpuinfo: fpu,ins)
  -h, --help                this text
  -V, --version             version"""


class Options:
    """The options of one run, by their long name with underscores."""

    __slots__ = (
        "all",
        "allow_uprobes",
        "arguments",
        "checksum_parameter",
        "command",
        "cpu_cap",
        "display_stats",
        "experimental",
        "extra",
        "features",
        "file_validation",
        "help",
        "images_dir",
        "leave_running",
        "leave_stopped",
        "log_file",
        "permits",
        "pidfile",
        "plan",
        "restore_detached",
        "restore_sibling",
        "share_pages",
        "shell_job",
        "skip_file_rwx_check",
        "snapshot",
        "timeout",
        "tree",
        "verbosity",
        "version",
        "work_dir",
    )

    def __init__(self) -> None:
        self.command = ""
        self.arguments: list[str] = []
        self.tree = 0
        self.images_dir = "."
        self.work_dir = ""
        self.log_file = ""
        self.pidfile = ""
        self.verbosity = 2
        self.timeout = DEFAULT_TIMEOUT
        self.features: list[str] = []
        self.permits: list[str] = []  # accepted, without effect yet: what they permit is refused by the preflight
        self.cpu_cap: int | None = None  # bits of engine/cpuinfo.py; None: not given
        self.file_validation = FILE_VALIDATION[0]
        self.checksum_parameter: int | None = None  # bytes; None: not given
        self.allow_uprobes = False
        self.all = self.extra = self.experimental = False
        self.display_stats = self.help = self.version = self.plan = False
        self.leave_running = self.leave_stopped = False
        self.share_pages = False
        self.snapshot = True
        self.restore_detached = self.restore_sibling = self.shell_job = self.skip_file_rwx_check = False


def parse(argv: list[str]) -> Options:
    """Options of a command line (without the program's name); BadOption names what is wrong with it."""
    options = Options()
    rest = list(argv)
    words: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            _long(options, word[2:], rest)
        elif word.startswith("-") and len(word) > 1:
            _short(options, word[1:], rest)
        else:
            words.append(word)
    if words:
        options.command, options.arguments = words[0], words[1:]
    _check(options)
    return options


def _long(options: Options, word: str, rest: list[str]) -> None:
    name, equals, value = word.partition("=")
    rows = [r for r in _TABLE if r[1] == name] or [r for r in _TABLE if r[1].startswith(name)]
    if len(rows) == 1:
        _set(options, rows[0], f"--{rows[0][1]}", value if equals else None, rest, True)
        return
    if len(rows) > 1:
        raise BadOption(f"--{name} is ambiguous: --{', --'.join(r[1] for r in rows)}")
    for row in _TABLE:
        if name == f"no-{row[1]}" and row[2] == FLAG:
            _set(options, row, f"--{name}", value if equals else None, rest, False)
            return
    raise BadOption(f"unknown option --{name}; criu --help lists them")


def _short(options: Options, letters: str, rest: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        row = next((r for r in _TABLE if r[0] == letter), None)
        if row is None:
            raise BadOption(f"unknown option -{letter}; criu --help lists them")
        if row[2] == FLAG:
            _set(options, row, f"-{letter}", None, rest, True)
            continue
        if row[3] == "verbosity":
            digits = letters[: len(letters) - len(letters.lstrip("0123456789"))]
            letters = letters[len(digits) :]
            if digits:
                options.verbosity = int(digits)
            else:
                # -v is 1, -vv is 2 and so on, counted from nothing however high the default is
                options.verbosity = options.verbosity + 1 if "v" in options.permits else 1
                options.permits.append("v")
            continue
        _set(options, row, f"-{letter}", letters or None, rest, True)
        return


def _set(
    options: Options, row: tuple[str, str, int, str], shown: str, value: str | None, rest: list[str], on: bool
) -> None:
    _, name, kind, attribute = row
    if kind == FLAG and value is not None:
        raise BadOption(f"{shown} takes no value")
    if kind in (NUMBER, TEXT, LIST) and value is None:
        if not rest:
            raise BadOption(f"{shown} needs a value")
        value = rest.pop(0)
    if not attribute:
        if kind == FLAG and not on:
            return
        raise BadOption(f"{shown} is not supported yet")
    if attribute == "-":
        options.permits.append(name)
    elif kind == FLAG:
        setattr(options, attribute, on)
    elif kind == LIST:
        getattr(options, attribute).append(value)
    elif kind == TEXT:
        setattr(options, attribute, value)
    elif attribute == "cpu_cap":
        from engine import cpuinfo

        options.cpu_cap = cpuinfo.modes(value, options.cpu_cap)
    else:
        try:
            setattr(options, attribute, int(value or "1"))
        except ValueError:
            raise BadOption(f"{shown} needs a number, not {value!r}") from None


def _check(options: Options) -> None:
    """Contradictions, and what a command cannot do without."""
    if options.help or options.version:
        return
    command = options.command
    if not command:
        raise BadOption("no command; one of " + ", ".join(COMMANDS))
    if command not in COMMANDS:
        raise BadOption(f"unknown command {command}; one of " + ", ".join(COMMANDS))
    if command == "cpuinfo":
        if not options.arguments:
            raise BadOption("cpuinfo needs to be told what to do: dump or check")
        if options.arguments[0] not in ("dump", "check"):
            raise BadOption(f"cpuinfo {options.arguments[0]}: unknown; dump or check")
    extra = options.arguments[command == "cpuinfo" :]
    if extra:
        raise BadOption(f"unexpected argument {extra[0]!r} after {command}")
    if command == "dump":
        if options.tree <= 0:
            raise BadOption("dump needs --tree PID, a pid greater than 0")
        if options.leave_running and options.leave_stopped:
            raise BadOption("--leave-running and --leave-stopped contradict each other; give one")
        for name in ("restore_detached", "restore_sibling", "plan", "pidfile"):
            if getattr(options, name):
                raise BadOption(f"--{name.replace('_', '-')} is an option of restore, not of dump")
    if command == "restore":
        if options.leave_running:
            raise BadOption("--leave-running is an option of dump, not of restore")
        if options.restore_sibling and not options.restore_detached:
            raise BadOption("--restore-sibling needs --restore-detached")
    _check_validation(options.file_validation, options.checksum_parameter)
    if options.timeout <= 0:
        raise BadOption("--timeout needs a number of seconds greater than 0")
    options.work_dir = options.work_dir or options.images_dir
    if options.log_file and os.sep in options.log_file.strip(os.sep) and not os.path.isabs(options.log_file):
        raise BadOption(f"--log-file {options.log_file}: a name in the work directory, or an absolute path")


def _check_validation(method: str, parameter: int | None) -> None:
    if method not in FILE_VALIDATION:
        raise BadOption(f"--file-validation {method}: unknown; one of " + ", ".join(FILE_VALIDATION))
    if parameter is not None:
        if method not in ("checksum", "checksum-period"):
            raise BadOption("--checksum-parameter needs --file-validation checksum or checksum-period")
        if not 0 < parameter < 1 << 32:
            raise BadOption("--checksum-parameter needs a number of bytes from 1 to 4294967295")
