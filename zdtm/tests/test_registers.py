"""Extended state on CPUs that have other components than this one, or have them elsewhere. Layouts are made up."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.arch import x86_64
from engine.errors import BadImage, Unsupported
from engine.images.schema import Schema

PKU, AMX = 9, 18
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
    x86_64.dump_registers(core, bytes(27 * 8), state, at(layout), {})
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
