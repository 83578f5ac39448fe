"""What a case may need of the machine, and how to find out whether it is there."""

from pathlib import Path

# name in a header -> flag in /proc/cpuinfo
CPU_FEATURES = {
    "avx": "avx",
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512bw": "avx512bw",
    "pku": "ospke",
    "xgetbv1": "xgetbv1",
}

# name in a header, and of the kernel's for a security module -> what it is called
LSMS = {"apparmor": "AppArmor", "selinux": "SELinux"}

# names that `criu check --feature` answers
ENGINE_FEATURES = (
    *("mnt_id", "mem_dirty_track", "aio_remap", "timerfd", "tun", "tun_ns", "userns", "fdinfo_lock"),
    *("seccomp_suspend", "seccomp_filters", "loginuid", "cgroupns", "autofs", "tcp_half_closed", "compat_cr"),
    *("uffd", "uffd-noncoop", "can_map_vdso", "sk_ns", "sk_unix_file", "net_diag_raw", "nsid", "link_nsid"),
    *("kcmp_epoll", "timens", "external_net_ns", "clone3_set_tid", "newifindex", "nftables"),
    *("has_ipt_legacy", "pidfd_store", "ns_pid", "apparmor_stacking", "network_lock_nftables"),
    *("sockopt_buf_lock", "memfd_hugetlb", "move_mount_set_group", "openat2", "get_rseq_conf"),
    *("ipv6_freebind", "pagemap_scan", "timer_cr_ids", "overlayfs_maps", "breakpoints"),
    "pagemap_scan_guard_pages",
)


def missing_cpu_feature(needs: tuple[str, ...]) -> str | None:
    """The first flag of /proc/cpuinfo that is needed and not there."""
    wanted = [CPU_FEATURES[name] for name in needs if name in CPU_FEATURES]
    if not wanted:
        return None
    has = set(Path("/proc/cpuinfo").read_text().split())
    return next((flag for flag in wanted if flag not in has), None)


def missing_lsm(needs: tuple[str, ...]) -> str | None:
    """The first security module that is needed and not active."""
    active: list[str] = []
    listed = Path("/sys/kernel/security/lsm")  # securityfs may not be mounted
    if listed.exists():
        active = listed.read_text().strip().split(",")
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text().strip() == "Y":
        active.append("apparmor")
    return next((LSMS[name] for name in needs if name in LSMS and name not in active), None)
