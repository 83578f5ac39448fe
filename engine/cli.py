"""The `criu` command."""


def main() -> int:
    """Entry point of the `criu` script; returns the exit status."""
    return 1
