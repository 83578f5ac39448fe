"""x86: what CPUID says, in the words of cpuinfo.img, and by the names of /proc/cpuinfo.

A capability word is a register of one CPUID leaf, but for word 3, which holds what is told from the CPU's family. The
order of the words is that of version 2 of CRIU's image; version 1 is the first twelve of them. Names of bits are those
of asm/cpufeatures.h, which /proc/cpuinfo shows.
"""

from __future__ import annotations

from engine.errors import BadImage, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Cpuid = Callable[[int, int], tuple[int, int, int, int] | None]

VENDORS = {"GenuineIntel": 1, "AuthenticAMD": 2}  # cpuinfo_x86_entry.vendor
VERSION = 2
WORDS_OF_VERSION = {1: 12, 2: 19}
EAX, EBX, ECX, EDX = range(4)

# Word -> leaf, subleaf, register. Words 2, 5, 7 and 8 (Transmeta, VIA, Linux's own) are empty in CRIU's images.
_LEAVES = {
    0: (1, 0, EDX),
    1: (0x80000001, 0, EDX),
    4: (1, 0, ECX),
    6: (0x80000001, 0, ECX),
    9: (7, 0, EBX),
    10: (0xD, 1, EAX),
    11: (7, 0, ECX),
    12: (0xF, 1, EDX),
    13: (0x80000008, 0, EBX),
    14: (6, 0, EAX),
    15: (0x8000000A, 0, EDX),
    16: (0xF, 0, EDX),
    17: (0x80000007, 0, EBX),
    18: (7, 0, EDX),
}
# Word -> its bits' names from bit 0 on; "." has none, "@16" goes on with bit 16.
_NAMES = {
    0: "fpu vme de pse tsc msr pae mce cx8 apic . sep mtrr pge mca cmov pat pse36 pn clflush . dts acpi mmx fxsr sse "
    "sse2 ss ht tm ia64 pbe",
    1: "@11 syscall @19 mp nx . mmxext . . fxsr_opt pdpe1gb rdtscp . lm 3dnowext 3dnow",
    3: "@16 rep_good @20 nopl @25 cpuid",
    4: "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm . pcid dca sse4_1 sse4_2 "
    "x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c rdrand hypervisor",
    6: "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt . lwp "
    "fma4 tce . nodeid_msr . tbm topoext perfctr_core perfctr_nb . bpext ptsc perfctr_llc mwaitx",
    9: "fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms invpcid rtm cqm zero_fcs_fds mpx rdt_a "
    "avx512f avx512dq rdseed adx smap avx512ifma . clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw "
    "avx512vl",
    10: "xsaveopt xsavec xgetbv1 xsaves xfd",
    11: "prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni "
    "avx512_bitalg tme avx512_vpopcntdq . la57 @22 rdpid . bus_lock_detect cldemote . movdiri movdir64b enqcmd sgx_lc",
    12: "cqm_occup_llc cqm_mbm_total cqm_mbm_local",
    13: "clzero irperf xsaveerptr . rdpru @9 wbnoinvd @12 ibpb . ibrs stibp @17 stibp_always_on @23 amd_ppin ssbd "
    "virt_ssbd ssb_no cppc psfd btc_no ibpb_ret brs",
    14: "dtherm ida arat . pln . pts hwp hwp_notify hwp_act_window hwp_epp hwp_pkg_req @19 hfi",
    15: "npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists @10 pausefilter @12 pfthreshold "
    "avic @15 v_vmsave_vmload vgif @18 x2avic @20 v_spec_ctrl @25 vnmi",
    16: "@1 cqm_llc",
    17: "overflow_recov succor . smca",
    18: "@2 avx512_4vnniw avx512_4fmaps fsrm @8 avx512_vp2intersect srbds_ctrl md_clear rtm_always_abort . "
    "tsx_force_abort serialize hybrid_cpu tsxldtrk . pconfig arch_lbr ibt . amx_bf16 avx512_fp16 amx_tile amx_int8 "
    "spec_ctrl intel_stibp flush_l1d arch_capabilities core_capabilities spec_ctrl_ssbd",
}
# Without these CRIU's mode `fpu` refuses.
_FPU = "fpu fxsr xsave osxsave"
# Without these CRIU's mode `ins` refuses.
_INSTRUCTIONS = (
    "fpu tsc cx8 sep cmov clflush mmx fxsr sse sse2 syscall mmxext rdtscp 3dnowext 3dnow rep_good nopl pni pclmulqdq "
    "monitor ssse3 cx16 sse4_1 sse4_2 movbe popcnt aes xsave osxsave avx f16c rdrand abm sse4a misalignsse "
    "3dnowprefetch xop fma4 tbm fsgsbase bmi1 hle avx2 bmi2 erms rtm mpx avx512f avx512dq rdseed adx clflushopt "
    "avx512pf avx512er avx512cd sha_ni avx512bw avx512vl xsaveopt xsavec xgetbv1 avx512vbmi avx512_vbmi2 gfni vaes "
    "vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq rdpid clzero avx512_4vnniw avx512_4fmaps"
)
# These it lets pass, though a program may use them; so we warn.
_ALSO_INSTRUCTIONS = (
    "fma lahf_lm lwp mwaitx avx512ifma clwb prefetchwt1 pku waitpkg cldemote movdiri movdir64b enqcmd rdpru "
    "avx512_vp2intersect serialize tsxldtrk amx_bf16 avx512_fp16 amx_tile amx_int8"
)

# Extended state components (XCR0): number -> what it is, and the flag of a CPU that has it.
COMPONENTS = {
    0: ("x87 registers", "fpu"),
    1: ("SSE registers", "sse"),
    2: ("upper halves of the AVX registers", "avx"),
    3: ("MPX bound registers", "mpx"),
    4: ("MPX configuration", "mpx"),
    5: ("AVX-512 mask registers", "avx512f"),
    6: ("upper halves of zmm0-15", "avx512f"),
    7: ("registers zmm16-31", "avx512f"),
    8: ("processor trace", "intel_pt"),
    9: ("protection key rights", "pku"),
    10: ("PASID", "enqcmd"),
    11: ("shadow stack", "user_shstk"),
    12: ("supervisor shadow stacks", "shstk"),
    17: ("AMX tile configuration", "amx_tile"),
    18: ("AMX tile data", "amx_tile"),
    19: ("APX registers", "apx"),
}
# The components that xfeatures_mask counts in. CRIU leaves SSE out, which every CPU of this architecture has.
_COUNTED = (0, 2, 3, 4, 5, 6, 7, 9)


def component_name(number: int) -> str:
    """An extended state component by name, with the flag of /proc/cpuinfo that stands for it."""
    name, flag = COMPONENTS.get(number, (f"extended state component {number}", "unknown"))
    return f"{name} ({flag})"


def flags(word: int, value: int) -> Iterator[str]:
    """The names of the bits that are set in a capability word."""
    names = _bits(_NAMES.get(word, ""))
    for bit in range(32):
        if value >> bit & 1:
            yield names.get(bit) or f"bit {bit} of word {word}"


def describe(entry: Any, cpuid: Cpuid) -> None:
    """Fill a cpuinfo_x86_entry with this CPU's. Unsupported when it is of a vendor that the image cannot hold."""
    name = cpuid(0, 0) or (0, 0, 0, 0)
    vendor = b"".join(name[r].to_bytes(4, "little") for r in (EBX, EDX, ECX)).decode("ascii", "replace")
    if vendor not in VENDORS:
        raise Unsupported([f"CPUs of {vendor}: cpuinfo.img knows Intel's and AMD's only; use --cpu-cap=none"])
    signature = (cpuid(1, 0) or (0, 0, 0, 0))[EAX]
    family, model = signature >> 8 & 0xF, signature >> 4 & 0xF
    if family == 0xF:
        family += signature >> 20 & 0xFF
    if family >= 6:
        model += (signature >> 16 & 0xF) << 4
    entry.vendor_id = VENDORS[vendor]
    entry.cpu_family, entry.model, entry.stepping = family, model, signature & 0xF
    entry.capability_ver = VERSION
    at = _index()
    words = _words(cpuid, entry.vendor_id == VENDORS["GenuineIntel"], family, at)
    entry.capability.extend(words)
    brand = b"".join(n.to_bytes(4, "little") for i in (2, 3, 4) for n in cpuid(0x80000000 + i, 0) or ())
    if brand.strip(b"\0 "):
        entry.model_id = brand.partition(b"\0")[0].lstrip(b" ").decode("ascii", "replace")
    if _has(words, *at["xsave"]):
        state = cpuid(0xD, 0) or (0, 0, 0, 0)
        counted = sum(1 << n for n in _COUNTED if _has(words, *at[COMPONENTS[n][1]]))
        entry.xfeatures_mask = (state[EAX] | state[EDX] << 32) & counted
        entry.xsave_size, entry.xsave_size_max = state[EBX], state[ECX]
    else:
        entry.xfeatures_mask = entry.xsave_size = entry.xsave_size_max = 0


def _words(cpuid: Cpuid, intel: bool, family: int, at: dict[str, tuple[int, int]]) -> list[int]:
    words = [0] * WORDS_OF_VERSION[VERSION]
    for word, (leaf, subleaf, register) in _LEAVES.items():
        words[word] = (cpuid(leaf, subleaf) or (0, 0, 0, 0))[register]
    if not _has(words, *at["cqm_llc"]):
        words[12] = 0  # the subleaf means something only then
    synthetic = ["cpuid", "nopl"]
    if intel:
        if family == 15:
            words[9] &= ~at["erms"][1]
        elif family == 6:
            synthetic.append("rep_good")
    else:
        words[0] &= 0x7FFFFFFF  # a nonstandard way to say 3DNow!
        if family >= 0x10:
            synthetic.append("rep_good")
    for name in synthetic:
        words[3] |= at[name][1]
    return words


def validate(entry: Any, image: str) -> None:
    """Is the entry one that can be compared? Raises BadImage."""
    if entry.vendor_id not in VENDORS.values():
        raise BadImage(image, 0, f"unknown CPU vendor {entry.vendor_id}; dump again, or use --cpu-cap=none")
    expected = WORDS_OF_VERSION.get(entry.capability_ver)
    if expected is None:
        known = " and ".join(map(str, WORDS_OF_VERSION))
        raise BadImage(image, 0, f"capability version {entry.capability_ver}; known are {known}; use --cpu-cap=none")
    if len(entry.capability) != expected:
        what = f"{len(entry.capability)} capability words; version {entry.capability_ver} has {expected}"
        raise BadImage(image, 0, f"{what}; dump again, or use --cpu-cap=none")


def lacks_state(entry: Any, here: Any) -> list[str]:
    """Mode fpu: what of the extended state of the image's CPU this one has not, or has otherwise."""
    found = [_lacks(name) for name in _missing(entry.capability, here.capability, _FPU)]
    if entry.HasField("xfeatures_mask"):
        less = entry.xfeatures_mask & ~here.xfeatures_mask & ~2
        found += [_lacks(component_name(n)) for n in range(64) if less >> n & 1]
    # A program that has asked CPUID for the size once (the C library's lazy binding has) has buffers of that size.
    for field, what in (("xsave_size", "the XSAVE area"), ("xsave_size_max", "the largest XSAVE area")):
        if entry.HasField(field) and getattr(entry, field) != getattr(here, field):
            found.append(f"{what} has {getattr(here, field)} bytes on this CPU, {getattr(entry, field)} on the dumped")
    return found


def lacks_instructions(entry: Any, here: Any) -> list[str]:
    """Mode ins: the instruction sets that programs may use and that this CPU has not."""
    return [_lacks(name) for name in _missing(entry.capability, here.capability, _INSTRUCTIONS)]


def lacks_silently(entry: Any, here: Any) -> list[str]:
    """Instruction sets that CRIU's mode ins does not look at: to warn of."""
    return _missing(entry.capability, here.capability, _ALSO_INSTRUCTIONS)


def differs(entry: Any, here: Any) -> list[str]:
    """Mode cpu: every capability that only one of the two CPUs has."""
    found = []
    for word, (there, this) in enumerate(zip(entry.capability, here.capability, strict=False)):
        found += [_lacks(name) for name in flags(word, there & ~this)]
        found += [f"this CPU has {name}, the dumped tasks' had not" for name in flags(word, this & ~there)]
    return found


def _lacks(name: str) -> str:
    return f"this CPU lacks {name}, which the dumped tasks' had"


def _missing(there: Any, here: Any, names: str) -> list[str]:
    at = _index()
    return [name for name in names.split() if _has(there, *at[name]) and not _has(here, *at[name])]


def _has(words: Any, word: int, mask: int) -> bool:
    return word < len(words) and bool(words[word] & mask)


def _index() -> dict[str, tuple[int, int]]:
    """Where each flag is: its word, and its bit as a mask."""
    return {name: (word, 1 << bit) for word, text in _NAMES.items() for bit, name in _bits(text).items()}


def _bits(text: str) -> dict[int, str]:
    """Bit -> name of one text of _NAMES."""
    bit, names = 0, {}
    for name in text.split():
        if name[0] == "@":
            bit = int(name[1:])
            continue
        if name != ".":
            names[bit] = name
        bit += 1
    return names
