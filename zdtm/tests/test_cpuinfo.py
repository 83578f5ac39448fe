"""cpuinfo.img and --cpu-cap: the same as the peer's, and what is refused."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.arch import x86_cpu
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
