"""What `criu check` can tell: every feature by name, its group, who needs it, and how to find out.

A probe does the thing itself, in a child of its own; no version numbers are compared.
"""

from __future__ import annotations

from engine.kernel.probes import files, memory, namespaces, net, raw, task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRED, EXTRA, EXPERIMENTAL, OTHER = "required", "extra", "experimental", "other"


class Probe:
    """One feature: what it is, what needs it, what to do when it is missing. Frozen."""

    __slots__ = ("ask", "group", "name", "need", "remedy", "what")

    name: str
    group: str
    what: str
    need: str
    remedy: str
    ask: Callable[[], bool]

    def __init__(self, name: str, group: str, ask: Callable[[], bool], what: str, need: str, remedy: str) -> None:
        values = (("name", name), ("group", group), ("ask", ask), ("what", what), ("need", need), ("remedy", remedy))
        for slot, value in values:
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self.name}.{name}: probes are frozen")

    def __call__(self) -> bool:
        """Is it there?"""
        return raw.isolate(self.ask)

    def __repr__(self) -> str:
        return f"Probe({self.name}: {self.what})"


def kernel(version: str, config: str = "") -> str:
    """The remedy when a kernel is too old, or built without something."""
    return f"a kernel from {version} on" + (f" with {config}" if config else "")


CR = "CONFIG_CHECKPOINT_RESTORE"

# name, group, probe, what it is; what needs it, what it takes when it is missing
# fmt: off
PROBES = (
    Probe("mnt_id", REQUIRED, files.mnt_id, "mnt_id in fdinfo",
          "dump of any open file", kernel("3.15")),
    Probe("mem_dirty_track", EXTRA, memory.mem_dirty_track, "soft-dirty bits in pagemap",
          "incremental dumps without PAGEMAP_SCAN", kernel("3.11", "CONFIG_MEM_SOFT_DIRTY")),
    Probe("aio_remap", EXTRA, memory.aio_remap, "an AIO ring that can be moved",
          "restore of tasks with AIO contexts", kernel("3.19", "CONFIG_AIO")),
    Probe("timerfd", EXTRA, files.timerfd, "timerfds in fdinfo, and ticks that can be set",
          "timerfds", kernel("3.17", CR)),
    Probe("tun", EXTRA, net.tun, "tun devices with a given index",
          "tasks with open tun devices", "CONFIG_TUN, and /dev/net/tun"),
    Probe("tun_ns", EXTRA, net.tun_ns, "the network namespace of a tun device",
          "tun devices of other network namespaces", kernel("5.2", "CONFIG_TUN")),
    Probe("userns", EXTRA, namespaces.userns, "user namespaces",
          "containers with user namespaces", "CONFIG_USER_NS, and user.max_user_namespaces above 0"),
    Probe("fdinfo_lock", EXTRA, files.fdinfo_lock, "file locks in fdinfo",
          "--file-locks", kernel("4.1", "CONFIG_FILE_LOCKING")),
    Probe("seccomp_suspend", EXTRA, task.seccomp_suspend, "seccomp that a tracer can suspend",
          "tasks with seccomp", kernel("4.3", f"CONFIG_SECCOMP and {CR}")),
    Probe("seccomp_filters", EXTRA, task.seccomp_filters, "seccomp filters that can be read back",
          "tasks with seccomp filters", kernel("4.4", f"CONFIG_SECCOMP_FILTER and {CR}")),
    Probe("loginuid", EXTRA, task.loginuid, "/proc/PID/loginuid that can be set",
          "tasks with a login uid", "CONFIG_AUDIT, and loginuid_immutable off"),
    Probe("cgroupns", EXTRA, namespaces.cgroupns, "cgroup namespaces",
          "containers with cgroup namespaces", kernel("4.6", "CONFIG_CGROUPS")),
    Probe("autofs", EXPERIMENTAL, files.autofs, "the pipe of an autofs mount in mountinfo",
          "autofs mounts", kernel("4.5", "CONFIG_AUTOFS_FS")),
    Probe("tcp_half_closed", EXTRA, net.tcp_half_closed, "TCP_REPAIR of half-closed connections",
          "--tcp-established", kernel("4.10")),
    Probe("compat_cr", EXPERIMENTAL, memory.compat_cr, "32-bit calls, and a 32-bit vdso at a given address",
          "32-bit tasks", kernel("4.9", f"CONFIG_IA32_EMULATION and {CR}")),
    Probe("uffd", EXTRA, memory.uffd, "userfaultfd",
          "--lazy-pages", kernel("4.3", "CONFIG_USERFAULTFD")),
    Probe("uffd-noncoop", EXTRA, memory.uffd_noncoop, "userfaultfd's events of a task that does not cooperate",
          "--lazy-pages", kernel("4.11", "CONFIG_USERFAULTFD")),
    Probe("can_map_vdso", REQUIRED, memory.can_map_vdso, "a vdso at a given address",
          "restore of any task", kernel("4.9", CR)),
    Probe("sk_ns", EXTRA, net.sk_ns, "the network namespace of a socket",
          "sockets of other network namespaces", kernel("4.10", "CAP_NET_ADMIN")),
    Probe("sk_unix_file", EXTRA, files.sk_unix_file, "the file that a unix socket is bound to",
          "bound unix sockets", kernel("4.11", "CAP_NET_ADMIN")),
    Probe("net_diag_raw", EXTRA, net.net_diag_raw, "raw sockets in sock_diag",
          "raw sockets", kernel("4.10", "CONFIG_INET_RAW_DIAG")),
    Probe("nsid", EXTRA, net.nsid, "ids of network namespaces",
          "several network namespaces", kernel("4.0")),
    Probe("link_nsid", EXTRA, net.link_nsid, "devices of a network namespace given by id",
          "several network namespaces", kernel("4.15")),
    Probe("kcmp_epoll", EXTRA, task.kcmp_epoll, "kcmp(2) of epoll targets",
          "epolls whose targets were duplicated", kernel("4.13", "CONFIG_KCMP")),
    Probe("timens", EXTRA, namespaces.timens, "time namespaces",
          "clocks that go on where they were", kernel("5.6", "CONFIG_TIME_NS")),
    Probe("external_net_ns", EXTRA, namespaces.external_net_ns, "network namespaces that can be entered",
          "--external net[...]", "CONFIG_NET_NS"),
    Probe("clone3_set_tid", REQUIRED, task.clone3_set_tid, "children with a given pid",
          "restore of any task", kernel("5.5", "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN")),
    Probe("newifindex", EXTRA, net.newifindex, "a new index for a device that moves",
          "containers with network devices", kernel("5.13")),
    Probe("nftables", EXTRA, net.nftables, "nf_tables",
          "nftables rules of network namespaces", "CONFIG_NF_TABLES"),
    Probe("has_ipt_legacy", OTHER, net.has_ipt_legacy, "the iptables of old",
          "iptables rules of network namespaces", "CONFIG_IP_NF_FILTER, and iptables-legacy"),
    Probe("pidfd_store", EXTRA, task.pidfd_store, "pidfds that others can keep",
          "incremental dumps that notice a reused pid", kernel("5.6")),
    Probe("ns_pid", EXTRA, task.ns_pid, "NSpid in /proc/PID/status",
          "containers with pid namespaces", kernel("4.1", "CONFIG_PID_NS")),
    Probe("apparmor_stacking", OTHER, task.apparmor_stacking, "stacked AppArmor profiles",
          "containers with AppArmor profiles of their own", "CONFIG_SECURITY_APPARMOR, and apparmor=1"),
    Probe("network_lock_nftables", EXTRA, net.network_lock_nftables, "nf_tables' sets of connections",
          "--network-lock nftables", kernel("5.6", "CONFIG_NF_TABLES")),
    Probe("sockopt_buf_lock", EXTRA, net.sockopt_buf_lock, "SO_BUF_LOCK",
          "sockets with buffer sizes of their own", kernel("5.15")),
    Probe("memfd_hugetlb", EXTRA, memory.memfd_hugetlb, "memfds of huge pages",
          "memfds of huge pages", kernel("4.14", "CONFIG_HUGETLBFS")),
    Probe("move_mount_set_group", EXTRA, files.move_mount_set_group, "MOVE_MOUNT_SET_GROUP",
          "mount namespaces with shared mounts", kernel("5.15")),
    Probe("openat2", EXTRA, files.openat2, "openat2(2)",
          "paths that must not leave a root", kernel("5.6")),
    Probe("get_rseq_conf", REQUIRED, task.get_rseq_conf, "PTRACE_GET_RSEQ_CONFIGURATION",
          "dump of any task of a C library with rseq", kernel("5.13", f"CONFIG_RSEQ and {CR}")),
    Probe("ipv6_freebind", EXTRA, net.ipv6_freebind, "IPV6_FREEBIND",
          "IPv6 sockets of addresses that are gone", kernel("4.15", "CONFIG_IPV6")),
    Probe("pagemap_scan", REQUIRED, memory.pagemap_scan, "the PAGEMAP_SCAN ioctl",
          "dump of any task's memory", kernel("6.7", "CONFIG_PROC_PAGE_MONITOR")),
    Probe("timer_cr_ids", EXTRA, task.timer_cr_ids, "POSIX timers with a given id",
          "POSIX timers with far ids", kernel("6.15", "CONFIG_POSIX_TIMERS")),
    Probe("overlayfs_maps", EXTRA, files.overlayfs_maps, "mappings of overlay files told as such",
          "containers upon overlayfs", kernel("6.8", "CONFIG_OVERLAY_FS")),
    Probe("breakpoints", EXTRA, task.breakpoints, "hardware breakpoints",
          "a restore that stops tasks at a place", "debug registers, which some virtual machines lack"),
    Probe("pagemap_scan_guard_pages", EXTRA, memory.pagemap_scan_guard_pages, "guard pages told by PAGEMAP_SCAN",
          "tasks with guard pages of madvise(2)", kernel("6.15")),
)
# fmt: on


def probe(name: str) -> Probe | None:
    """The probe of a feature."""
    return next((p for p in PROBES if p.name == name), None)
