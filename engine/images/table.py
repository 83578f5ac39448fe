"""The one table of all images: their names, magic numbers and contents.

An image begins with little-endian 32-bit words: the magic of its head (none in raw images, in the inventory, and in
images of version 1), then its own. Entries follow, each a 32-bit length and a message, some with a raw payload.
"""

from __future__ import annotations

# Heads: what stands before an image's own magic.
COMMON = 0x54564319
SERVICE = 0x55105940
OWN = 0  # nothing: the own magic comes first
RAW = -1  # no magic at all, no entries: bytes in somebody else's format

# How many entries.
NONE, ONE, MANY = 0, 1, 2

# What follows an entry: "" nothing; "pagemap" is one head, then pagemap_entry until the end; others: wire.py.
_ROWS: tuple[tuple[str, str, int, int, str, int, str], ...] = (
    ("INVENTORY", "inventory.img", 0x58313116, OWN, "inventory_entry", ONE, ""),
    ("FDINFO", "fdinfo-%u.img", 0x56213732, COMMON, "fdinfo_entry", MANY, ""),
    ("PAGEMAP", "pagemap-%lu.img", 0x56084025, COMMON, "pagemap_head", MANY, "pagemap"),
    ("SHMEM_PAGEMAP", "pagemap-shmem-%lu.img", 0x56084025, COMMON, "pagemap_head", MANY, "pagemap"),
    ("REG_FILES", "reg-files.img", 0x50363636, COMMON, "reg_file_entry", MANY, ""),
    ("EXT_FILES", "ext-files.img", 0x59255641, COMMON, "ext_file_entry", MANY, ""),
    ("NS_FILES", "ns-files.img", 0x61394011, COMMON, "ns_file_entry", MANY, ""),
    ("EVENTFD_FILE", "eventfd.img", 0x44523722, COMMON, "eventfd_file_entry", MANY, ""),
    ("EVENTPOLL_FILE", "eventpoll.img", 0x45023858, COMMON, "eventpoll_file_entry", MANY, ""),
    ("EVENTPOLL_TFD", "eventpoll-tfd.img", 0x44433746, COMMON, "eventpoll_tfd_entry", MANY, ""),
    ("SIGNALFD", "signalfd.img", 0x57323820, COMMON, "signalfd_entry", MANY, ""),
    ("INOTIFY_FILE", "inotify.img", 0x48424431, COMMON, "inotify_file_entry", MANY, ""),
    ("INOTIFY_WD", "inotify-wd.img", 0x54562009, COMMON, "inotify_wd_entry", MANY, ""),
    ("FANOTIFY_FILE", "fanotify.img", 0x55096122, COMMON, "fanotify_file_entry", MANY, ""),
    ("FANOTIFY_MARK", "fanotify-mark.img", 0x56506035, COMMON, "fanotify_mark_entry", MANY, ""),
    ("CORE", "core-%u.img", 0x55053847, COMMON, "core_entry", ONE, ""),
    ("IDS", "ids-%u.img", 0x54432030, COMMON, "task_kobj_ids_entry", ONE, ""),
    ("MM", "mm-%u.img", 0x57492820, COMMON, "mm_entry", ONE, ""),
    ("VMAS", "vmas-%u.img", 0x54123737, COMMON, "vma_entry", MANY, ""),
    ("PIPES", "pipes.img", 0x56513555, COMMON, "pipe_entry", MANY, ""),
    ("PIPES_DATA", "pipes-data.img", 0x56453709, COMMON, "pipe_data_entry", MANY, "bytes"),
    ("FIFO", "fifo.img", 0x58364939, COMMON, "fifo_entry", MANY, ""),
    ("FIFO_DATA", "fifo-data.img", 0x59333054, COMMON, "pipe_data_entry", MANY, "bytes"),
    ("PSTREE", "pstree.img", 0x50273030, COMMON, "pstree_entry", MANY, ""),
    ("SIGACT", "sigacts-%u.img", 0x55344201, COMMON, "sa_entry", MANY, ""),
    ("UNIXSK", "unixsk.img", 0x54373943, COMMON, "unix_sk_entry", MANY, ""),
    ("INETSK", "inetsk.img", 0x56443851, COMMON, "inet_sk_entry", MANY, ""),
    ("PACKETSK", "packetsk.img", 0x60454618, COMMON, "packet_sock_entry", MANY, ""),
    ("NETLINK_SK", "netlinksk.img", 0x58005614, COMMON, "netlink_sk_entry", MANY, ""),
    ("SK_QUEUES", "sk-queues.img", 0x56264026, COMMON, "sk_packet_entry", MANY, "length"),
    ("ITIMERS", "itimers-%u.img", 0x57464056, COMMON, "itimer_entry", MANY, ""),
    ("POSIX_TIMERS", "posix-timers-%u.img", 0x52603957, COMMON, "posix_timer_entry", MANY, ""),
    ("CREDS", "creds-%u.img", 0x54023547, COMMON, "creds_entry", ONE, ""),
    ("UTSNS", "utsns-%u.img", 0x54473203, COMMON, "utsns_entry", ONE, ""),
    ("IPC_VAR", "ipcns-var-%u.img", 0x53115007, COMMON, "ipc_var_entry", ONE, ""),
    ("IPCNS_SHM", "ipcns-shm-%u.img", 0x46283044, COMMON, "ipc_shm_entry", MANY, "shm"),
    ("IPCNS_MSG", "ipcns-msg-%u.img", 0x55453737, COMMON, "ipc_msg_entry", MANY, "msg"),
    ("IPCNS_SEM", "ipcns-sem-%u.img", 0x59573019, COMMON, "ipc_sem_entry", MANY, "sem"),
    ("FS", "fs-%u.img", 0x51403912, COMMON, "fs_entry", ONE, ""),
    ("REMAP_FPATH", "remap-fpath.img", 0x59133954, COMMON, "remap_file_path_entry", MANY, ""),
    ("GHOST_FILE", "ghost-file-%x.img", 0x52583605, COMMON, "ghost_file_entry", ONE, "ghost"),
    ("MEMFD_INODE", "memfd.img", 0x48453499, COMMON, "memfd_inode_entry", MANY, ""),
    ("TCP_STREAM", "tcp-stream-%x.img", 0x51465506, COMMON, "tcp_stream_entry", ONE, "queues"),
    ("MNTS", "mountpoints-%u.img", 0x55563928, COMMON, "mnt_entry", MANY, ""),
    ("NETDEV", "netdev-%u.img", 0x57373951, COMMON, "net_device_entry", MANY, ""),
    ("NETNS", "netns-%u.img", 0x55933752, COMMON, "netns_entry", ONE, ""),
    ("IFADDR", "ifaddr-%u.img", 0, RAW, "", NONE, ""),
    ("ROUTE", "route-%u.img", 0, RAW, "", NONE, ""),
    ("ROUTE6", "route6-%u.img", 0, RAW, "", NONE, ""),
    ("RULE", "rule-%u.img", 0, RAW, "", NONE, ""),
    ("IPTABLES", "iptables-%u.img", 0, RAW, "", NONE, ""),
    ("IP6TABLES", "ip6tables-%u.img", 0, RAW, "", NONE, ""),
    ("NFTABLES", "nftables-%u.img", 0, RAW, "", NONE, ""),
    ("TMPFS_IMG", "tmpfs-%u.tar.gz.img", 0, RAW, "", NONE, ""),
    ("TMPFS_DEV", "tmpfs-dev-%u.tar.gz.img", 0, RAW, "", NONE, ""),
    ("AUTOFS", "autofs-%u.img", 0x49353943, COMMON, "autofs_entry", ONE, ""),
    ("BINFMT_MISC_OLD", "binfmt-misc-%u.img", 0x67343323, COMMON, "binfmt_misc_entry", MANY, ""),
    ("BINFMT_MISC", "binfmt-misc.img", 0x67343323, COMMON, "binfmt_misc_entry", MANY, ""),
    ("TTY_FILES", "tty.img", 0x59433025, COMMON, "tty_file_entry", MANY, ""),
    ("TTY_INFO", "tty-info.img", 0x59453036, COMMON, "tty_info_entry", MANY, ""),
    ("TTY_DATA", "tty-data.img", 0x59413026, COMMON, "tty_data_entry", MANY, ""),
    ("FILE_LOCKS", "filelocks.img", 0x54323616, COMMON, "file_lock_entry", MANY, ""),
    ("RLIMIT", "rlimit-%u.img", 0x57113925, COMMON, "rlimit_entry", MANY, ""),
    ("PAGES", "pages-%u.img", 0, RAW, "", NONE, ""),
    ("PAGES_OLD", "pages-%d.img", 0x56084025, RAW, "", NONE, ""),
    ("SHM_PAGES_OLD", "pages-shmem-%ld.img", 0x56084025, RAW, "", NONE, ""),
    ("SIGNAL", "signal-s-%u.img", 0x59255647, COMMON, "siginfo_entry", MANY, ""),
    ("PSIGNAL", "signal-p-%u.img", 0x59255647, COMMON, "siginfo_entry", MANY, ""),
    ("TUNFILE", "tunfile.img", 0x57143751, COMMON, "tunfile_entry", MANY, ""),
    ("CGROUP", "cgroup.img", 0x59383330, COMMON, "cgroup_entry", ONE, ""),
    ("TIMERFD", "timerfd.img", 0x50493712, COMMON, "timerfd_entry", MANY, ""),
    ("CPUINFO", "cpuinfo.img", 0x61404013, COMMON, "cpuinfo_entry", ONE, ""),
    ("SECCOMP", "seccomp.img", 0x64413049, COMMON, "seccomp_entry", ONE, ""),
    ("USERNS", "userns-%u.img", 0x55474906, COMMON, "userns_entry", ONE, ""),
    ("NETNF_CT", "netns-ct-%u.img", 0, RAW, "", NONE, ""),
    ("NETNF_EXP", "netns-exp-%u.img", 0, RAW, "", NONE, ""),
    ("FILES", "files.img", 0x56303138, COMMON, "file_entry", MANY, ""),
    ("TIMENS", "timens-%u.img", 0x43114433, COMMON, "timens_entry", ONE, ""),
    ("PIDNS", "pidns-%u.img", 0x61157326, COMMON, "pidns_entry", ONE, ""),
    ("BPFMAP_FILE", "bpfmap-file.img", 0x57506142, COMMON, "bpfmap_file_entry", MANY, ""),
    ("BPFMAP_DATA", "bpfmap-data.img", 0x64324033, COMMON, "bpfmap_data_entry", MANY, "map"),
    ("APPARMOR", "apparmor.img", 0x59423047, COMMON, "apparmor_entry", ONE, ""),
    ("PIDFD", "pidfd.img", 0x54435556, COMMON, "pidfd_entry", MANY, ""),
    ("SECRETMEM", "secretmem.img", 0x53454352, COMMON, "secretmem_data_entry", MANY, "bytes"),  # ours
    ("STATS", "stats-%s", 0x57093306, SERVICE, "stats_entry", ONE, ""),
    ("IRMAP_CACHE", "irmap-cache", 0x57004059, SERVICE, "irmap_cache_entry", MANY, ""),
)


class Image:
    """A row of the table. `pattern` takes a pid, namespace id, shmid or pages id (%u, %lu), or a file id (%x)."""

    __slots__ = ("count", "head", "kind", "magic", "message", "pattern", "payload")

    def __init__(self, kind: str, pattern: str, magic: int, head: int, message: str, count: int, payload: str) -> None:
        self.kind = kind
        self.pattern = pattern
        self.magic = magic
        self.head = head
        self.message = message
        self.count = count
        self.payload = payload

    def name(self, *ids: int | str) -> str:
        """The file name for these ids: none, or the one that the pattern has a place for."""
        return self.pattern % ids

    def ids(self, name: str) -> tuple[int | str, ...] | None:
        """The ids in a file name, () where the pattern has none; None when the name is not this image's."""
        prefix, percent, rest = self.pattern.partition("%")
        if not percent:
            return () if name == self.pattern else None
        conversion = rest.lstrip("l")
        suffix = conversion[1:]
        text = name[len(prefix) : len(name) - len(suffix)]
        if prefix + text + suffix != name:
            return None
        if conversion[0] == "s":
            return (text,) if text in ("dump", "restore") else None
        try:
            number = int(text, 16 if conversion[0] == "x" else 10)
        except ValueError:
            return None
        return (number,) if number >= 0 and self.pattern % number == name else None


IMAGES: dict[str, Image] = {row[0]: Image(*row) for row in _ROWS}


# By what stands before the id, "core-", or by the whole name. Of kinds that share a name the first one is meant.
_BY_PREFIX = {image.pattern.partition("%")[0]: image for image in reversed(IMAGES.values())}


def by_name(name: str) -> tuple[Image, tuple[int | str, ...]] | None:
    """The image that a file of this name holds, and the ids in the name; None for a name that is no image's."""
    image = _BY_PREFIX.get(name) or _BY_PREFIX.get(name[: name.rfind("-") + 1])
    ids = image.ids(name) if image else None
    return (image, ids) if image and ids is not None else None


def by_magic(magic: int) -> Image | None:
    """The first image of the table with this own magic (some kinds share one: then their contents are alike)."""
    for image in IMAGES.values():
        if image.magic == magic and image.head != RAW:
            return image
    return None
