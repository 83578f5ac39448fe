"""Constants of the kernel headers, in the kernel's spelling: one file a header."""
