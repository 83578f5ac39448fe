"""Trees of mounts, both halves: mounts and what they are of, file systems and what is in them (mount_namespaces(7))."""
