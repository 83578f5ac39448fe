"""`criu cpuinfo` and --cpu-cap: what the CPU of the dumped tasks offers, in cpuinfo.img, and whether this one does too.

As in CRIU: without --cpu-cap nothing is written or checked; with it, `fpu` and `ins` are asked for, to which each word
adds: fpu (extended state), ins (instructions), cpu (everything the same), all, none, and ^WORD, which takes one away.
"""

from __future__ import annotations

from engine.errors import BadImage, BadOption, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images

FPU, CPU, INS = 1, 2, 4  # as in CRIU's RPC
ALL = FPU | CPU | INS
DEFAULT = FPU | INS
_WORDS = {"fpu": FPU, "cpu": CPU, "ins": INS, "all": ALL, "none": 0}
_IMAGE = "cpuinfo.img"


def modes(text: str | None, before: int | None) -> int:
    """What --cpu-cap[=TEXT] asks for, after what an earlier one did. BadOption names a word that is none."""
    if text is None:
        return ALL
    value = DEFAULT if before is None else before
    for word in text.split(","):
        name = word.lstrip("^")
        if not word:
            continue
        if name and name not in _WORDS:
            raise BadOption(f"--cpu-cap: {word!r} is none of {', '.join(_WORDS)}, or one of these after a ^")
        bits = _WORDS.get(name, 0)
        value = 0 if name == "none" else value & ~bits if word[0] == "^" else value | bits
    return value


def run(ctx: Context) -> int:
    """The command: `cpuinfo dump` or `cpuinfo check`; the exit status. Raises EngineError."""
    from engine.blocks import closing

    options = ctx.options
    with closing(ctx.images()) as images:
        if options.arguments == ["dump"]:
            images.write("CPUINFO", (), [_here(ctx)])
        else:
            _check(ctx, images, (DEFAULT if options.cpu_cap is None else options.cpu_cap) or ALL)
    return 0


def dump(ctx: Context, images: Images) -> None:
    """Write cpuinfo.img, if --cpu-cap asks for it."""
    if ctx.options.cpu_cap:
        images.write("CPUINFO", (), [_here(ctx)])


def check(ctx: Context, images: Images) -> None:
    """Compare cpuinfo.img with this CPU, if --cpu-cap asks for it. Raises Unsupported and BadImage."""
    if ctx.options.cpu_cap:
        _check(ctx, images, ctx.options.cpu_cap)


def _here(ctx: Context) -> Any:
    from engine.kernel.cpu import cpuid

    info = ctx.schema.message("cpuinfo_entry")()
    _cpu(ctx).describe(info.x86_entry.add(), cpuid)
    return info


def _cpu(ctx: Context) -> ModuleType:
    if ctx.arch.NAME != "x86_64":
        raise Unsupported([f"CPU capabilities of {ctx.arch.NAME} are not supported yet; use --cpu-cap=none"])
    from engine.arch import x86_cpu

    return x86_cpu


def _check(ctx: Context, images: Images, asked: int) -> None:
    if not images.exists("CPUINFO"):
        remedy = "dump with --cpu-cap or `criu cpuinfo dump`, or restore without --cpu-cap"
        raise BadImage(_IMAGE, 0, f"missing from {images.path}: {remedy}")
    info = images.read_one("CPUINFO")
    cpu = _cpu(ctx)
    if len(info.x86_entry) != 1:
        raise BadImage(_IMAGE, 0, f"{len(info.x86_entry)} x86 CPUs in it, one is expected; dump again")
    there, here = info.x86_entry[0], _here(ctx).x86_entry[0]
    cpu.validate(there, _IMAGE)
    found: dict[str, list[str]] = {}  # what is wrong -> the modes that mind, which the user can take away
    for mode, bit, look in (
        ("fpu", FPU, cpu.lacks_state),
        ("ins", INS, cpu.lacks_instructions),
        ("cpu", CPU, cpu.differs),
    ):
        if asked & bit:
            for what in look(there, here):
                found.setdefault(what, []).append(f"^{mode}")
    if asked & INS and not asked & CPU:
        silent = cpu.lacks_silently(there, here)
        if silent:
            ctx.log.warn(f"this CPU lacks {', '.join(silent)}: programs that have seen them may use them")
    if found:
        raise Unsupported([f"{what}; use such a CPU, or --cpu-cap={','.join(minds)}" for what, minds in found.items()])
