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

FLAG, NUMBER, TEXT, LIST, OPTIONAL, SIZE = range(6)

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
    ("", "outer-pids", FLAG, "outer_pids"),
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
    ("", "freeze-cgroup", TEXT, "freeze_cgroup"),
    ("", "weak-sysctls", FLAG, "-"),
    ("", "lazy-pages", FLAG, ""),
    ("", "stream", FLAG, ""),
    ("", "mntns-compat-mode", FLAG, "-"),
    ("", "network-lock", TEXT, "network_lock"),
    ("", "unprivileged", FLAG, "-"),
    ("", "allow-uprobes", FLAG, "allow_uprobes"),
    ("", "external", LIST, "external"),
    ("", "ext-unix-sk", OPTIONAL, "-"),
    ("", "tcp-established", FLAG, "-"),
    ("", "skip-in-flight", FLAG, "-"),
    ("", "tcp-close", FLAG, "-"),
    ("r", "root", TEXT, "root"),
    ("", "evasive-devices", FLAG, "evasive_devices"),
    ("", "link-remap", FLAG, "link_remap"),
    ("", "ghost-limit", SIZE, "ghost_limit"),
    ("", "ghost-fiemap", FLAG, "ghost_fiemap"),
    ("", "action-script", LIST, ""),
    ("l", "file-locks", FLAG, "file_locks"),
    ("L", "libdir", TEXT, "-"),
    ("", "force-irmap", FLAG, "force_irmap"),
    ("", "irmap-scan-path", LIST, "irmap_scan_path"),
    ("", "manage-cgroups", OPTIONAL, "manage_cgroups"),
    ("", "cgroup-root", LIST, "cgroup_root"),
    ("", "cgroup-props", TEXT, "cgroup_props"),
    ("", "cgroup-props-file", TEXT, "cgroup_props_file"),
    ("", "cgroup-dump-controller", LIST, "cgroup_dump_controller"),
    ("", "cgroup-yard", TEXT, "cgroup_yard"),
    ("", "lsm-profile", TEXT, ""),
    ("", "lsm-mount-context", TEXT, ""),
    ("", "skip-mnt", LIST, "skip_mnt"),
    ("", "enable-fs", LIST, "enable_fs"),
    ("", "ext-mount-map", LIST, "ext_mount_map"),
    ("", "enable-external-sharing", FLAG, "enable_external_sharing"),
    ("", "enable-external-masters", FLAG, "enable_external_masters"),
    ("", "inherit-fd", LIST, "inherit_fd"),
    ("", "empty-ns", LIST, "empty_ns"),
    ("J", "join-ns", LIST, "join_ns"),
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
GHOST_LIMIT = 1 << 20  # bytes
_UNITS = {"K": 10, "M": 20, "G": 30}
# How it is told at restore that a file has changed since the dump (engine/files/validation.py); the first: by default.
FILE_VALIDATION = ("buildid", "filesize", "checksum-full", "checksum", "checksum-period")
# What a restore does about cgroups; the third: by default.
CGROUP_MODES = ("none", "props", "soft", "full", "strict", "ignore")
NETWORK_LOCKS = ("iptables", "nftables", "skip")  # by their numbers in inventory.img


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
      --outer-pids          restore a tree that has a pid namespace with the pids outside that it had, too
      --pidfile FILE        write the root process's pid to FILE
  -j, --shell-job           the process's session leader is outside of the tree (a job of a shell)
      --plan                restore: print the program of every task, and do nothing
      --display-stats       print statistics
      --timeout SECONDS     give up freezing after that long (default: 10)
  -l, --file-locks          dump a process that has file locks or leases, and these
      --allow-uprobes       dump and restore a process that has met uprobes
      --file-validation HOW what is kept of files, and compared at restore: filesize; with it buildid (default; of
                            files without one that the tree does not write to, a checksum of the first 1024 bytes),
                            checksum-full, checksum (the first N bytes), checksum-period (every Nth byte)
                            At restore, filesize compares nothing else
      --checksum-parameter N  the N of checksum and checksum-period (default: 1024)
      --inherit-fd fd[N]:KEY  restore: open what KEY is by descriptor N: file[MNT_ID:INODE], pipe:[INODE], memfd:NAME,
                            or the path of a file or FIFO without its first slash
      --ghost-limit SIZE    how much a deleted file may take on disk to be dumped; K, M, G (default: 1M)
      --ghost-fiemap        have the file system tell where a deleted file's holes are, instead of searching
      --link-remap          where a file has lost the name it was opened by, but has another: link it to a new
                            name (link_remap.N) for the time until it is restored
      --evasive-devices     open a device whose node is gone by another node of it in /dev
      --skip-file-rwx-check do not compare file modes at restore
  -r, --root DIR            restore: the root of the tree's mounts, a mount point
      --external RES        something outside of the tree. mnt[PATH]:KEY at dump, and mnt[KEY]:PATH at restore: a
                            mount; mnt[]: what is mounted from outside, told by itself; mnt[]:m may be slaves of
                            mounts outside, mnt[]:s share with them. file[MNT_ID:INODE] (hexadecimal) or
                            dev[MAJOR/MINOR]:NAME, an open file or device; dev[NAME]:PATH at restore
      --skip-mnt PATH       dump without what is mounted there
      --enable-fs NAMES     file systems to mount anew without knowing them, with commas between, or all
      --network-lock HOW    how packets are kept away from a network namespace: nftables (default), iptables, skip
      --empty-ns net        what is in the network namespace is left out, or left to whoever restores
  -J, --join-ns NS:WHERE    restore: join the namespace of this kind (net, ipc, uts, time, mnt, pid, user, cgroup) of
                            a process (its pid) or of a file, instead of making what the tree had
      --external veth[IN]:OUT@BRIDGE  restore: the end outside of a veth pair, and the bridge that it is on
      --external macvlan[IN]:OUT  restore: the device that a macvlan device is on
      --external netdev[IN]:OUT  restore: a device that is moved in and becomes IN; dump: netdev[IN] is left to that
      --irmap-scan-path DIR look into DIR too for names of what inotify and fanotify watch (may be given repeatedly)
      --force-irmap         look for these names in directories, even where the kernel tells them
      --manage-cgroups[=HOW]  restore: none wants cgroups to be there, props too and sets their properties; soft
                            (default) makes those that are not; full sets the properties of all; strict wants none to
                            be there; ignore leaves tasks where the engine is (also at dump)
      --cgroup-root [CTRL:]/PATH  dump: all below PATH, too; restore: put the tree's topmost cgroup to PATH
      --cgroup-props SPEC   dump: which properties of a controller are kept, or with --cgroup-props-file FILE
      --cgroup-dump-controller NAME  dump no other controller (may be given repeatedly)
      --cgroup-yard DIR     where all hierarchies are mounted, each by its controllers' names
      --freeze-cgroup DIR   dump: freeze this cgroup to stop the tree; it is left as it was found
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
        "cgroup_dump_controller",
        "cgroup_props",
        "cgroup_props_file",
        "cgroup_root",
        "cgroup_yard",
        "checksum_parameter",
        "command",
        "cpu_cap",
        "display_stats",
        "empty_ns",
        "enable_external_masters",
        "enable_external_sharing",
        "enable_fs",
        "evasive_devices",
        "experimental",
        "ext_mount_map",
        "external",
        "externals",
        "extra",
        "features",
        "file_locks",
        "file_validation",
        "force_irmap",
        "freeze_cgroup",
        "ghost_fiemap",
        "ghost_limit",
        "help",
        "images_dir",
        "inherit_fd",
        "inherit_fds",
        "irmap_scan_path",
        "join_ns",
        "leave_running",
        "leave_stopped",
        "link_remap",
        "log_file",
        "manage_cgroups",
        "network_lock",
        "outer_pids",
        "permits",
        "pidfile",
        "plan",
        "restore_detached",
        "restore_sibling",
        "root",
        "share_pages",
        "shell_job",
        "skip_file_rwx_check",
        "skip_mnt",
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
        self.external: list[str] = []  # as given: `externals` is what they say
        self.inherit_fd: list[str] = []
        self.join_ns: list[str] = []
        self.network_lock = "nftables"
        self.empty_ns: list[str] = []  # kinds of namespaces
        self.permits: list[str] = []  # accepted, without effect yet: what they permit is refused by the preflight
        self.manage_cgroups = "soft"
        self.cgroup_root: list[str] = []  # [CONTROLLER:]/PATH
        self.cgroup_dump_controller: list[str] = []
        self.cgroup_props = self.cgroup_props_file = self.cgroup_yard = self.freeze_cgroup = ""
        self.cpu_cap: int | None = None  # bits of engine/cpuinfo.py; None: not given
        self.file_validation = FILE_VALIDATION[0]
        self.checksum_parameter: int | None = None  # bytes; None: not given
        self.root = ""
        self.ext_mount_map: list[str] = []
        self.skip_mnt: list[str] = []
        self.enable_fs: list[str] = []
        self.enable_external_masters = self.enable_external_sharing = False
        self.externals: dict[str, dict[str, str]] = {}  # kind -> key -> name (engine/externals.py)
        self.inherit_fds: dict[str, int] = {}  # key -> number
        self.allow_uprobes = self.file_locks = self.force_irmap = False
        self.evasive_devices = self.ghost_fiemap = self.link_remap = False
        self.ghost_limit = GHOST_LIMIT
        self.irmap_scan_path: list[str] = []
        self.all = self.extra = self.experimental = False
        self.display_stats = self.help = self.version = self.plan = False
        self.leave_running = self.leave_stopped = False
        self.share_pages = self.outer_pids = False
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
    if kind in (NUMBER, TEXT, LIST, SIZE) and value is None:
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
    elif kind == SIZE:
        setattr(options, attribute, _size(shown, value or ""))
    elif kind == TEXT:
        setattr(options, attribute, value)
    elif attribute == "manage_cgroups":
        options.manage_cgroups = value or "soft"
    elif attribute == "cpu_cap":
        from engine import cpuinfo

        options.cpu_cap = cpuinfo.modes(value, options.cpu_cap)
    else:
        try:
            setattr(options, attribute, int(value or "1"))
        except ValueError:
            raise BadOption(f"{shown} needs a number, not {value!r}") from None


def _size(shown: str, value: str) -> int:
    """Bytes, of a number with or without a unit."""
    digits, unit = (value[:-1], value[-1].upper()) if value[-1:].upper() in _UNITS else (value, "")
    if not (digits.isascii() and digits.isdecimal()):
        raise BadOption(f"{shown} needs a number of bytes, maybe with K, M or G behind it, not {value!r}")
    return int(digits) << _UNITS.get(unit, 0)


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
    for kind in options.empty_ns:
        if kind != "net":
            raise BadOption(f"--empty-ns {kind}: only net can be left empty")
    if options.network_lock not in NETWORK_LOCKS:
        raise BadOption(f"--network-lock {options.network_lock}: one of " + ", ".join(NETWORK_LOCKS))
    _check_validation(options.file_validation, options.checksum_parameter)
    _check_cgroups(options)
    if options.external or options.ext_mount_map or options.inherit_fd:
        from engine import externals

        options.externals = externals.parse(options.external, options.ext_mount_map)
        if command == "restore":
            options.inherit_fds = externals.parse_inherited(options.inherit_fd)
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


def _check_cgroups(options: Options) -> None:
    if options.manage_cgroups not in CGROUP_MODES:
        raise BadOption(f"--manage-cgroups {options.manage_cgroups}: unknown; one of " + ", ".join(CGROUP_MODES))
    for root in options.cgroup_root:
        path = root.rpartition(":")[2]
        if not path.startswith("/") or ".." in path.split("/"):
            raise BadOption(f"--cgroup-root {root}: [CONTROLLER:]/PATH, an absolute path in the hierarchy")
    if options.cgroup_yard:  # as CRIU has it
        options.cgroup_yard = os.path.join(options.work_dir or options.images_dir, options.cgroup_yard)
    if options.cgroup_props or options.cgroup_props_file:
        from engine.tasks import cgroup_props

        cgroup_props.Table(options)  # it says what is wrong
