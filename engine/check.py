"""`criu check`: can this kernel do it, for this user?"""

from __future__ import annotations

from engine.kernel.features import Features
from engine.kernel.probes import EXPERIMENTAL, EXTRA, OTHER, PROBES, REQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.log import Log
    from engine.options import Options

WIDTH = 80  # columns of the list of names


def run(options: Options, log: Log) -> int:
    """The answer on standard output, what is missing in the log; the exit status."""
    if options.features:
        names = [name.strip() for given in options.features for name in given.split(",")]
        return _named(names, log)
    return _groups(options, log)


def _named(names: list[str], log: Log) -> int:
    """Some features by name: 0 when all of them are there."""
    known = [p.name for p in PROBES]
    unknown = [name for name in names if name not in known]
    if unknown:
        print("\n".join(_wrapped(known)))
        for name in unknown:
            log.error(f"there is no feature {name!r} to check; the known ones are listed on standard output")
        return 1
    answers = Features.load().ask(names, again=True)
    for name in names:
        print(f"{name} is {'' if answers[name] else 'not '}supported")
    return 0 if all(answers.values()) else 1


def _groups(options: Options, log: Log) -> int:
    """The groups that the options ask for: 0 when all of it is there, optional or not, as CRIU has it."""
    asked = {REQUIRED}
    if options.extra:
        asked.add(EXTRA)
    if options.experimental:
        asked.add(EXPERIMENTAL)
    if options.all:
        asked |= {EXTRA, EXPERIMENTAL, OTHER}
    rows = [p for p in PROBES if p.group in asked]
    answers = Features.load().ask((p.name for p in rows), again=True)
    missing = [p for p in rows if not answers[p.name]]
    for p in missing:
        text = f"{p.name} is missing ({p.what}): needed for {p.need}; it takes {p.remedy}"
        if p.group == REQUIRED:
            log.error(text)
        else:
            log.warn(text)
    if any(p.group == REQUIRED for p in missing):
        print("Dump and restore do not work here: a required feature is missing.")
        return 1
    if missing:
        print("Looks good, but optional features are missing: trees that use them can be neither dumped nor restored.")
        return 1
    print("Looks good.")
    return 0


def _wrapped(names: list[str]) -> list[str]:
    """Names, separated by blanks, in lines of WIDTH columns."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + 1 + len(name) > WIDTH:
            lines.append("")
        lines[-1] += f" {name}" if lines[-1] else name
    return lines
