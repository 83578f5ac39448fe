"""A checkpoint/restore engine for Linux processes. See docs/design.md."""
