"""asm-generic/signal.h: the numbers the engine sends or waits for (Python's signal module costs 3 ms to import)."""

SIGTRAP = 5
SIGKILL = 9
SIGCHLD = 17
SIGCONT = 18
SIGSTOP = 19
