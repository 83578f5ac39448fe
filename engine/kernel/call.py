"""The one way a native function's -errno becomes an error."""

from engine.errors import KernelError


def check(result: int, call: str, what: str = "") -> int:
    """Return `result`, or raise KernelError naming the call (with its decoded arguments) when it is -errno."""
    if result < 0:
        raise KernelError(call, -result, what)
    return result
