"""The rules that a tool can check: ruff, mypy, clang-format, who imports whom, who may exit, how long a file is."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MAX_LINES = 500
PYTHON = [
    *ROOT.glob("*.py"),
    *(p for d in ("engine", "zdtm", "blobs", "ci", "bench") for p in (ROOT / d).rglob("*.py")),
]
ENGINE = sorted((ROOT / "engine").rglob("*.py"))
C_FOLDERS = ("blobs", "engine/kernel/native", "zdtm", "ci", "bench")
C_FILES = sorted(
    p for d in C_FOLDERS for s in ("*.c", "*.h") for p in (ROOT / d).rglob(s) if "artefacts" not in p.parts
)

# What a part of the engine may import of the rest of it; parts that are not named may import everything but the cli.
MAY_IMPORT = {
    "engine.kernel": ("engine.kernel", "engine.errors", "engine.blocks"),
    "engine.images": ("engine.images", "engine.errors", "engine.blocks"),
    "engine.plan": ("engine.plan", "engine.errors"),
}
# Calling one of these while a module is imported is work, or a side effect, that belongs in a function.
WORK = ("os", "sys", "subprocess", "socket", "time", "ctypes", "signal", "open", "print", "lib", "mmap")
# ... except these, which only look something up.
LOOK_UPS = ("os.sysconf", "os.fsencode", "os.uname")


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_bytes(), str(path))


def module_of(path: Path) -> str:
    """The dotted name of a Python file of this checkout."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every (line, dotted name) that a file imports at any depth; of `from a import b`, both a and a.b."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, name
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def within(name: str, parts: tuple[str, ...]) -> bool:
    """Is the module `name` one of `parts` or inside one?"""
    return any(name == part or name.startswith(part + ".") for part in parts)


def report(*command: str | Path) -> None:
    """Fail with a tool's output when the tool is not content."""
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command[:3]))} ...\n{done.stdout}", pytrace=False)


def complain(found: list[str]) -> None:
    """Fail with one line for each thing found."""
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def at(path: Path, line: int) -> str:
    """A place in a file, as compilers write it."""
    return f"{path.relative_to(ROOT)}:{line}"


def test_ruff() -> None:
    report(BIN / "ruff", "check", ".")


def test_ruff_format() -> None:
    report(BIN / "ruff", "format", "--check", ".")


def test_mypy() -> None:
    report(BIN / "mypy", "--no-error-summary")


def test_clang_format() -> None:
    report(BIN / "clang-format", "--dry-run", "-Werror", *C_FILES)


def test_import_direction() -> None:
    """`kernel` knows nothing of the rest, `images` nothing of the kernel, `plan` neither; nothing imports the cli."""
    found = []
    for path in ENGINE:
        name = module_of(path)
        allowed = next((may for part, may in MAY_IMPORT.items() if within(name, (part,))), None)
        for line, imported in imports_of(path):
            if not within(imported, ("engine",)) or imported == "engine":
                continue
            # `from engine import errors` is told by its second half.
            if allowed is not None and not within(imported, allowed):
                found.append(f"{at(path, line)}: {name} must not import {imported}")
            if within(imported, ("engine.cli",)):
                found.append(f"{at(path, line)}: nothing imports engine.cli")
    complain(found)


def test_only_kernel_uses_the_native_module() -> None:
    found = [
        f"{at(path, line)}: {imported}: only engine/kernel/ calls native code"
        for path in PYTHON
        if not within(module_of(path), ("engine.kernel",))
        for line, imported in imports_of(path)
        if imported == "engine.kernel._native"
    ]
    complain(found)


def test_only_the_commands_exit() -> None:
    """Library code raises; the entry points `engine.cli` and `engine.images.crit` alone end the process."""
    found = []
    for path in ENGINE:
        if module_of(path) in ("engine.cli", "engine.images.crit"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in ("sys.exit", "SystemExit", "exit"):
                found.append(f"{at(path, node.lineno)}: {ast.unparse(node)}: only the commands exit")
    complain(found)


def test_no_module_state() -> None:
    """No `global`, and no empty container at module level that waits to be filled."""
    found = []
    for path in ENGINE:
        tree = tree_of(path)
        found += [f"{at(path, n.lineno)}: global" for n in ast.walk(tree) if isinstance(n, ast.Global)]
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                value = ast.unparse(node.value)
                if value in ("[]", "{}", "set()", "dict()", "list()"):
                    found.append(f"{at(path, node.lineno)}: {ast.unparse(node)}: module state")
    complain(found)


def test_no_work_at_import() -> None:
    """At module level of the engine: definitions and constants; no statement that does something."""
    found = []
    for path in ENGINE:
        if path.name == "build_native.py":
            continue
        for node in tree_of(path).body:
            if isinstance(node, ast.For | ast.While | ast.With):
                found.append(f"{at(path, node.lineno)}: work at import")
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                found.append(f"{at(path, node.lineno)}: {ast.unparse(node)}: work at import")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
                    name = ast.unparse(call.func)
                    if name.split(".")[0] in WORK and name not in LOOK_UPS:
                        found.append(f"{at(path, node.lineno)}: {name}(): work at import")
    complain(found)


def test_length_of_files() -> None:
    found = []
    for path in [*PYTHON, *C_FILES]:
        lines = path.read_bytes().count(b"\n")
        if lines > MAX_LINES:
            found.append(f"{path.relative_to(ROOT)}: {lines} lines, more than {MAX_LINES}: split it")
    complain(found)
