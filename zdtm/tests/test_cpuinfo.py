"""cpuinfo.img, --cpu-cap, and extended state on CPUs that are not this one."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.arch import x86_64, x86_cpu
from engine.context import Context
from engine.cpuinfo import ALL, CPU, DEFAULT, FPU, INS, check, dump, modes
from engine.errors import BadImage, BadOption, Unsupported
from engine.images.files import Images
from engine.images.schema import Schema
from engine.kernel.cpu import cpuid
from engine.log import Log
from engine.options import parse
from zdtm.tests.tasks import Criu

Doctor = Callable[[Any], None]
PKU, AMX = 9, 18


def entry(doctor: Doctor | None = None) -> Any:
    """A cpuinfo_entry of this CPU, doctored."""
    info = Schema().message("cpuinfo_entry")()
    x86_cpu.describe(info.x86_entry.add(), cpuid)
    if doctor:
        doctor(info.x86_entry[0])
    return info


def store(images: str, doctor: Doctor | None = None) -> None:
    """Write cpuinfo.img into a directory."""
    directory = Images.open(Schema(), images)
    directory.write("CPUINFO", (), [entry(doctor)])
    directory.close()


def flag(name: str, on: bool) -> Doctor:
    """Give the dumping CPU a flag, or take it away."""

    def doctor(x86: Any) -> None:
        word, mask = x86_cpu._index()[name]
        x86.capability[word] = x86.capability[word] | mask if on else x86.capability[word] & ~mask

    return doctor


def field(name: str, value: Any) -> Doctor:
    return lambda x86: setattr(x86, name, value)


def version_1(x86: Any) -> None:
    x86.capability_ver = 1
    del x86.capability[12:]


def missing_flag() -> str:
    """An instruction set that mode ins asks for, and that this CPU has not."""
    words = entry().x86_entry[0].capability
    for name in x86_cpu._INSTRUCTIONS.split():
        word, mask = x86_cpu._index()[name]
        if not words[word] & mask:
            return name
    pytest.skip("this CPU has every instruction set there is")


# The image


def test_same_as_the_peers(criu: Criu, peer_criu: Path, images: str, tmp_path: Path) -> None:
    criu("cpuinfo", "dump", "-D", images)
    (tmp_path / "peer").mkdir()
    subprocess.run([peer_criu, "cpuinfo", "dump", "-D", tmp_path / "peer"], check=True)
    assert Path(images, "cpuinfo.img").read_bytes() == (tmp_path / "peer/cpuinfo.img").read_bytes()
    criu("cpuinfo", "check", "-D", str(tmp_path / "peer"), "--cpu-cap")
    subprocess.run([peer_criu, "cpuinfo", "check", "-D", images, "--cpu-cap"], check=True)


def test_names_are_those_of_proc_cpuinfo() -> None:
    """Every flag that the kernel shows, and that CPUID tells, is found under the same name; few have none."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    shown = set(next(line for line in lines if line.startswith("flags")).partition(":")[2].split())
    words = entry().x86_entry[0].capability
    named = {name for word, value in enumerate(words) for name in x86_cpu.flags(word, value)}
    known = set(x86_cpu._index())
    assert shown & known <= named
    assert {n for n in shown - known if n.startswith(("avx", "sse", "xsave", "fx"))} <= {"avx_vnni", "avx512_bf16"}


def test_tables_agree() -> None:
    index = x86_cpu._index()
    named = f"{x86_cpu._FPU} {x86_cpu._INSTRUCTIONS} {x86_cpu._ALSO_INSTRUCTIONS}".split()
    assert not [name for name in named if name not in index]
    assert not set(x86_cpu._INSTRUCTIONS.split()) & set(x86_cpu._ALSO_INSTRUCTIONS.split())
    # asm/cpufeatures.h, by hand
    for name, word, bit in (
        ("pbe", 0, 31),
        ("3dnow", 1, 31),
        ("cpuid", 3, 25),
        ("osxsave", 4, 27),
        ("hypervisor", 4, 31),
        ("mwaitx", 6, 29),
        ("mpx", 9, 14),
        ("avx512vl", 9, 31),
        ("rdpid", 11, 22),
        ("sgx_lc", 11, 30),
        ("brs", 13, 31),
        ("avx512_vp2intersect", 18, 8),
        ("amx_int8", 18, 25),
        ("spec_ctrl_ssbd", 18, 31),
    ):
        assert index[name] == (word, 1 << bit), name


def fake_cpu(vendor: bytes, signature: int, **leaves: tuple[int, int, int, int]) -> x86_cpu.Cpuid:
    """A CPU of which little is known: a vendor, a signature, and leaves by name ("x7_0")."""

    def ask(leaf: int, subleaf: int = 0) -> tuple[int, int, int, int] | None:
        if leaf == 0:
            b, d, c = struct.unpack("<III", vendor)
            return 0x16, b, c, d
        if leaf == 1:
            return signature, 0, 1 << 26, 0x878BFBFF
        return leaves.get(f"x{leaf:x}_{subleaf}")

    return ask


def test_other_cpus() -> None:
    new = Schema().message("cpuinfo_x86_entry")
    skylake = new()
    state = {"xd_0": (0x2FF, 2696, 2696, 0), "x7_0": (0, 1 << 16 | 1 << 9, 1 << 3, 0), "xf_1": (0, 0, 0, 7)}
    brand = {f"x8000000{i}_0": struct.unpack("<IIII", t) for i, t in ((2, b"    Some brand X"), (3, b"2" + bytes(15)))}
    x86_cpu.describe(skylake, fake_cpu(b"GenuineIntel", 0x50654, **state, **brand))
    assert (skylake.vendor_id, skylake.cpu_family, skylake.model, skylake.stepping) == (1, 6, 0x55, 4)
    assert skylake.model_id == "Some brand X2"
    assert (skylake.xfeatures_mask, skylake.xsave_size) == (0x2E1, 2696), "AVX and MPX are not in the flags"
    assert skylake.capability[3] == 1 << 16 | 1 << 20 | 1 << 25
    assert skylake.capability[0] >> 31 == 1
    assert skylake.capability[12] == 0, "leaf 0xf has no subleaf 1 without cqm_llc"
    netburst = new()
    x86_cpu.describe(netburst, fake_cpu(b"GenuineIntel", 0xF41, **state))
    assert netburst.cpu_family == 15
    assert not netburst.capability[9] >> 9 & 1, "its erms is not trusted"
    assert not netburst.capability[3] >> 16 & 1
    assert not netburst.HasField("model_id")
    zen = new()
    x86_cpu.describe(zen, fake_cpu(b"AuthenticAMD", 0x00B00F21))
    assert (zen.vendor_id, zen.cpu_family, zen.model, zen.stepping) == (2, 26, 2, 1)
    assert zen.capability[0] >> 31 == 0
    with pytest.raises(Unsupported, match="CentaurHauls"):
        x86_cpu.describe(new(), fake_cpu(b"CentaurHauls", 0x6F1))


# What is asked for


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], None),
        (["--cpu-cap"], ALL),
        (["--cpu-cap=fpu"], DEFAULT),
        (["--cpu-cap=cpu"], ALL),
        (["--cpu-cap=none"], 0),
        (["--cpu-cap=none,ins"], INS),
        (["--cpu-cap=ins,none"], 0),
        (["--cpu-cap=^none"], 0),
        (["--cpu-cap=^fpu"], INS),
        (["--cpu-cap=all,^ins"], FPU | CPU),
        (["--cpu-cap=^fpu,^ins"], 0),
        (["--cpu-cap=,"], DEFAULT),
        (["--cpu-cap=none", "--cpu-cap=fpu"], FPU),
    ],
)
def test_modes(given: list[str], asked: int | None) -> None:
    assert parse(["dump", "-t", "1", *given]).cpu_cap == asked


@pytest.mark.parametrize("text", ["FPU", "fpu;cpu", " fpu", "image", "no-fpu", "fpu,bogus", "^bogus"])
def test_unknown_modes(text: str) -> None:
    with pytest.raises(BadOption, match="--cpu-cap"):
        modes(text, None)


@pytest.mark.parametrize("words", [[], ["burn"], ["dump", "check"]])
def test_command_line(words: list[str]) -> None:
    with pytest.raises(BadOption, match="cpuinfo"):
        parse(["cpuinfo", *words])


# What is refused

CASES: list[tuple[Doctor, set[str], str]] = [
    (flag("avx512f", False), {"cpu"}, "this CPU has avx512f"),
    (flag("rep_good", False), {"cpu"}, "this CPU has rep_good"),
    (flag("vmx", True), {"cpu"}, "lacks vmx"),
    (lambda x86: x86.capability.__setitem__(8, 8), {"cpu"}, "lacks bit 3 of word 8"),
    (field("xfeatures_mask", 0x2E5), {"fpu"}, r"protection key rights \(pku\)"),
    (field("xsave_size", 99), {"fpu"}, "XSAVE area has .* 99"),
    (field("xsave_size_max", 99), {"fpu"}, "largest XSAVE area has .* 99"),
    (field("stepping", 15), set(), ""),
    (field("cpu_family", 6), set(), ""),
    (lambda x86: x86.ClearField("xsave_size"), set(), ""),
    (lambda x86: x86.ClearField("model_id"), set(), ""),
    (version_1, set(), ""),
]


@pytest.fixture
def context(images: str) -> Callable[..., Context]:
    """A context for --cpu-cap=WORDS on the images directory."""
    return lambda words: Context(parse(["restore", "-D", images, f"--cpu-cap={words}"]), Log())


@pytest.mark.parametrize("mode", ["fpu", "ins", "cpu"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_refusals(case: int, mode: str, images: str, context: Callable[..., Context]) -> None:
    doctor, minds, words = CASES[case]
    store(images, doctor)
    ctx = context(f"none,{mode}")
    with_images = ctx.images()
    if mode in minds:
        with pytest.raises(Unsupported, match=words) as error:
            check(ctx, with_images)
        assert f"--cpu-cap=^{mode}" in str(error.value)
    else:
        check(ctx, with_images)
    with_images.close()


def test_missing_instructions(criu: Criu, images: str) -> None:
    name = missing_flag()
    store(images, flag(name, True))
    done = criu("cpuinfo", "check", "-D", images, check=False)
    assert done.returncode == 1
    assert f"this CPU lacks {name}, which" in done.stderr
    assert "^ins" in done.stderr
    assert criu("cpuinfo", "check", "-D", images, "--cpu-cap=^ins").returncode == 0
    assert criu("cpuinfo", "check", "-D", images, "--cpu-cap=none", check=False).returncode == 1, "all, as in CRIU"


def test_instructions_that_criu_does_not_ask_for(criu: Criu, images: str) -> None:
    store(images, flag("amx_tile", True))
    done = criu("cpuinfo", "check", "-D", images)
    assert "lacks amx_tile" in done.stderr
    assert done.stderr.startswith("Warn")


@pytest.mark.parametrize(
    ("doctor", "words"),
    [
        (field("vendor_id", 0), "vendor 0"),
        (field("capability_ver", 3), "version 3"),
        (lambda x86: x86.capability.pop(), "18 capability words"),
    ],
)
def test_bad_entries(doctor: Doctor, words: str, criu: Criu, images: str) -> None:
    store(images, doctor)
    done = criu("cpuinfo", "check", "-D", images, check=False)
    assert done.returncode == 1
    assert "cpuinfo.img" in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(("data", "words"), [(None, "missing"), (b"junk", "magic"), (b"", "truncated")])
def test_bad_images(data: bytes | None, words: str, criu: Criu, images: str) -> None:
    if data is not None:
        Path(images, "cpuinfo.img").write_bytes(data)
    done = criu("cpuinfo", "check", "-D", images, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_hooks(images: str, context: Callable[..., Context]) -> None:
    """What dump and restore call: nothing without the option, or with it when nothing is left of it."""
    for options in ([], ["--cpu-cap=none"], ["--cpu-cap=^fpu,^ins"]):
        ctx = Context(parse(["restore", "-D", images, *options]), Log())
        directory = ctx.images()
        dump(ctx, directory)
        check(ctx, directory)
        assert not directory.exists("CPUINFO")
        directory.close()
    ctx = context("ins")
    directory = ctx.images()
    with pytest.raises(BadImage, match="dump with --cpu-cap"):
        check(ctx, directory)
    dump(ctx, directory)
    check(ctx, directory)
    directory.close()


# Extended state: images of CPUs that have other components than this one. Layouts are made up.

LAYOUT = {2: (576, 256), 5: (832, 64), 6: (896, 512), 7: (1408, 1024)}
SIZE = 2432


def at(layout: dict[int, tuple[int, int]]) -> Callable[[int], tuple[int, int] | None]:
    return layout.get


def blank(enabled: int = 0xE7, size: int = SIZE, bv: int = 0) -> bytearray:
    """The set of a thread of this CPU that has used nothing."""
    state = bytearray(size)
    struct.pack_into("<H", state, 0, 0x37F)
    struct.pack_into("<II", state, 24, 0x1F80, 0x2FFFF)
    struct.pack_into("<Q", state, 464, enabled)
    struct.pack_into("<Q", state, 512, bv)
    return state


def full(layout: dict[int, tuple[int, int]] = LAYOUT, size: int = SIZE) -> bytearray:
    """A set in which every byte of every component counts."""
    bv = 3 | sum(1 << n for n in layout)
    state = blank(bv, size, bv)
    state[32:416] = bytes(i * 7 % 251 + 1 for i in range(384))
    for number, (offset, length) in layout.items():
        state[offset : offset + length] = bytes((i * 5 + number) % 251 + 1 for i in range(length))
    return state


def core_of(state: bytearray, layout: dict[int, tuple[int, int]] = LAYOUT) -> Any:
    core = Schema().message("core_entry")()
    x86_64.dump_registers(core, bytes(27 * 8), state, at(layout))
    return core


@pytest.fixture
def core() -> Iterator[Any]:
    yield core_of(full())


def test_round_trip() -> None:
    state = full()
    assert x86_64.extended_of(core_of(state), blank(), at(LAYOUT)) == (bytes(state), [])


def test_another_layout() -> None:
    """The image holds components, not offsets: Intel's CPUs have gaps where AMD's have none."""
    intel = {2: (576, 256), 5: (1088, 64), 6: (1152, 512), 7: (1664, 1024)}
    there, missing = x86_64.extended_of(core_of(full()), blank(0xE7, 2696), at(intel))
    assert not missing
    here = full()
    for number, (offset, length) in intel.items():
        at_home = LAYOUT[number][0]
        assert there[offset : offset + length] == here[at_home : at_home + length]
    assert there[832:1088] == bytes(256), "the gap"
    assert struct.unpack_from("<Q", there, 512)[0] == 0xE7
    assert struct.unpack_from("<Q", there, 464)[0] == 0xE7


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2, "upper halves of the AVX registers (avx)"),
        (5, "AVX-512 mask registers (avx512f)"),
        (6, "upper halves of zmm0-15 (avx512f)"),
        (7, "registers zmm16-31 (avx512f)"),
    ],
)
@pytest.mark.parametrize("how", ["no such CPU", "not enabled"])
def test_missing_component(core: Any, number: int, words: str, how: str) -> None:
    """A component in use is refused by name; all the others are still there."""
    layout = {n: where for n, where in LAYOUT.items() if how == "not enabled" or n != number}
    enabled = 0xE7 & ~(1 << number) if how == "not enabled" else 0xE7
    state, missing = x86_64.extended_of(core, blank(enabled), at(layout))
    assert missing == [words]
    assert struct.unpack_from("<Q", state, 512)[0] == 0xE7 & ~(1 << number)


@pytest.mark.parametrize("number", LAYOUT)
@pytest.mark.parametrize("how", ["clear", "zero"])
def test_missing_component_unused(core: Any, number: int, how: str) -> None:
    """In its initial state (the bit in xstate_bv clear, or set and all zero) nobody needs it."""
    name = {2: "ymmh_space", 5: "opmask_reg", 6: "zmm_upper", 7: "hi16_zmm"}[number]
    xsave = core.thread_info.fpregs.xsave
    if how == "clear":
        xsave.xstate_bv &= ~(1 << number)
    else:
        getattr(xsave, name)[:] = [0] * len(getattr(xsave, name))
    layout = {n: where for n, where in LAYOUT.items() if n != number}
    state, missing = x86_64.extended_of(core, blank(0xE7 & ~(1 << number)), at(layout))
    assert not missing
    assert struct.unpack_from("<Q", state, 512)[0] == 0xE7 & ~(1 << number)


def test_initial_state_is_not_loaded(core: Any) -> None:
    """A clear bit means the initial state, whatever stands in the fields; the bit stays clear."""
    core.thread_info.fpregs.xsave.xstate_bv = 3
    state, missing = x86_64.extended_of(core, blank(), at(LAYOUT))
    assert not missing
    assert struct.unpack_from("<Q", state, 512)[0] == 3
    assert not any(state[576:])


def test_mxcsr_alone() -> None:
    """Rounding mode and masks count even where no register was ever used."""
    state = blank()
    struct.pack_into("<I", state, 24, 0x7F80)
    out, _ = x86_64.extended_of(core_of(state), blank(), at(LAYOUT))
    assert struct.unpack_from("<I", out, 24)[0] == 0x7F80
    assert struct.unpack_from("<Q", out, 512)[0] == 2


def test_mxcsr_of_another_vendor(core: Any) -> None:
    core.thread_info.fpregs.mxcsr = 0x1F80 | 1 << 17
    current = blank()
    struct.pack_into("<I", current, 28, 0xFFFF)
    assert x86_64.extended_of(core, current, at(LAYOUT))[1] == ["bits 0x20000 of mxcsr (misalignsse is 0x20000)"]


def test_image_without_xsave(core: Any) -> None:
    """Of a CPU that had FXSAVE only."""
    core.thread_info.fpregs.ClearField("xsave")
    state, missing = x86_64.extended_of(core, blank(), at(LAYOUT))
    assert not missing
    assert state[32:416] == full()[32:416]
    assert struct.unpack_from("<Q", state, 512)[0] == 3


WITH_PKU = {**LAYOUT, PKU: (2432, 8)}


def pkru(value: int, used: bool = True) -> bytearray:
    state = blank(0x2E7, 2440, 1 << PKU if used else 0)
    struct.pack_into("<I", state, 2432, value)
    return state


def test_protection_keys_round_trip() -> None:
    core = core_of(pkru(0x5555_5550), WITH_PKU)
    assert list(core.thread_info.fpregs.xsave.pkru) == [0x5555_5550]
    state, missing = x86_64.extended_of(core, pkru(0x5555_5554), at(WITH_PKU))
    assert not missing
    assert state == bytes(pkru(0x5555_5550))


def test_protection_keys_all_allowed() -> None:
    """PKRU 0 is the CPU's initial state, not the kernel's for a new task."""
    core = core_of(pkru(0, used=False), WITH_PKU)
    state, _ = x86_64.extended_of(core, pkru(0x5555_5554), at(WITH_PKU))
    assert state[2432:] == bytes(8)
    assert struct.unpack_from("<Q", state, 512)[0] == 0


def test_protection_keys_on_a_cpu_without() -> None:
    for value, missing in ((0x5555_5554, []), (0, []), (0x5555_5550, ["protection key rights (pku)"])):
        assert x86_64.extended_of(core_of(pkru(value), WITH_PKU), blank(), at(LAYOUT))[1] == missing


@pytest.mark.parametrize("has_xsave", [True, False])
def test_protection_keys_of_a_cpu_without(has_xsave: bool) -> None:
    """Then the task gets what every new task gets, and not the rights to all keys."""
    core = core_of(blank())
    if not has_xsave:
        core.thread_info.fpregs.ClearField("xsave")
    state, missing = x86_64.extended_of(core, pkru(0x5555_5554), at(WITH_PKU))
    assert not missing
    assert struct.unpack_from("<I", state, 2432)[0] == 0x5555_5554
    assert struct.unpack_from("<Q", state, 512)[0] >> PKU & 1


WITH_AMX = {**LAYOUT, 17: (2752, 64), AMX: (2816, 8192)}


def test_tiles_in_use_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"AMX tile configuration \(amx_tile\), AMX tile data \(amx_tile\)"):
        core_of(full(WITH_AMX, 11008), WITH_AMX)


def test_tiles_not_in_use_are_no_matter() -> None:
    state = blank(0x602E7, 11008, 0x60002)
    assert core_of(state, WITH_AMX).thread_info.fpregs.xsave.xstate_bv == 2


def test_unknown_component_in_use() -> None:
    with pytest.raises(Unsupported, match="extended state component 40"):
        core_of(blank(bv=1 << 40))


def test_tiles_that_an_image_lost(core: Any) -> None:
    """CRIU writes xstate_bv as it was, and not the tiles."""
    core.thread_info.fpregs.xsave.xstate_bv |= 1 << AMX
    with pytest.raises(Unsupported, match="AMX tile data"):
        x86_64.extended_of(core, blank(), at(LAYOUT))


@pytest.mark.parametrize(
    ("name", "count"), [("xmm_space", 63), ("st_space", 33), ("ymmh_space", 65), ("hi16_zmm", 129)]
)
def test_wrong_number_of_elements(core: Any, name: str, count: int) -> None:
    fp = core.thread_info.fpregs
    values = getattr(fp if name in ("xmm_space", "st_space") else fp.xsave, name)
    del values[:]
    values.extend([1] * count)
    with pytest.raises(BadImage, match=f"{name} has {count} elements"):
        x86_64.extended_of(core, blank(), at(LAYOUT))
