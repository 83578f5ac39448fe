"""The page of results: tables between two marks of a Markdown file, the text around them kept; and a plot beside it."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
from html import escape
from pathlib import Path

BEGIN, END = "<!-- figures: bench/bench.py writes them -->", "<!-- end of figures -->"
# What is to be reached, as ratios to the peer.
GOALS = {
    ("1 GiB", "dump"): 0.8,
    ("1 GiB", "restore"): 0.7,
    ("1 GiB", "pause"): 0.05,
    ("fragmented", "dump"): 1.0,
    ("fragmented", "restore"): 1.0,
    ("idle", "dump"): 1.0,
    ("idle", "restore"): 1.0,
    ("fds", "dump"): 1.0,
    ("fds", "restore"): 1.0,
    ("fds", "pause"): 1.0,
}
_PLOTTED = {"dump": "#4878a8", "restore": "#6aa84f", "pause": "#e0a030"}
_BAR, _GAP, _LEFT, _WIDTH, _TOP = 14, 12, 190, 760, 56  # px
_MOST = 1.5  # the ratio at the right edge

Figures = dict[str, dict[str, dict[str, dict[str, list[float]]]]]  # file system, workload, who, figure


def file_system(where: Path) -> str:
    """The type of the file system that a directory is on."""
    return subprocess.check_output(["stat", "-f", "-c", "%T", where], text=True).strip()


def _machine(runs: int, peer: Path) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    version = subprocess.run([peer, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().strip()
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Measured on {datetime.date.today().isoformat()}: {os.cpu_count()} processors ({cpu}), {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, transparent huge pages {huge}; the peer is "
        f"{version.replace('Version: ', 'CRIU ')}. Medians of {runs} rounds in turn; load at the end {load}."
    )


def _median(values: list[float] | None) -> float | None:
    return statistics.median(values) if values else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _table(workloads: dict[str, dict[str, dict[str, list[float]]]], units: dict[str, str]) -> list[str]:
    lines = [
        "| workload | figure | ours | peer | ratio | goal | floor | ours/floor |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, measured in workloads.items():
        for figure, unit in units.items():
            ours, peer, floor = (_median(measured.get(who, {}).get(figure)) for who in ("ours", "peer", "floor"))
            if ours is None or peer is None:
                continue
            ratio = f"{ours / peer:.2f}" if peer > 0 and unit == "ms" else ""
            goal = GOALS.get((name, figure))
            cells = [
                name,
                f"{figure}, {unit}",
                _cell(ours),
                _cell(peer),
                ratio,
                f"≤ {goal}" if goal else "",
                _cell(floor),
                f"{ours / floor:.2f}" if floor else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _plot(figures: Figures) -> str:
    """Bars of ours / peer by workload and file system; a line at 1, where both take as long."""
    scale = (_WIDTH - _LEFT - 60) / _MOST
    y = _TOP
    body: list[str] = []
    for kind, workloads in figures.items():
        body.append(f'<text x="10" y="{y + 12}" font-weight="bold">images on {escape(kind)}</text>')
        y += 24
        for name, measured in workloads.items():
            body.append(f'<text x="{_LEFT - 8}" y="{y + 1.5 * _BAR + 4}" text-anchor="end">{escape(name)}</text>')
            for figure, colour in _PLOTTED.items():
                ours, peer = (_median(measured.get(who, {}).get(figure)) for who in ("ours", "peer"))
                if not ours or not peer:
                    continue
                ratio = ours / peer
                width = max(min(ratio, _MOST) * scale, 1)
                body.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>')
                body.append(f'<text x="{_LEFT + width + 4:.1f}" y="{y + 10}" font-size="10">{ratio:.2f}</text>')
                if goal := GOALS.get((name, figure)):
                    at = _LEFT + goal * scale
                    body.append(f'<path d="M{at:.1f} {y - 1}v{_BAR}" stroke="#c00" stroke-width="2"/>')
                y += _BAR
            y += _GAP
    one = _LEFT + scale
    legend = [
        f'<rect x="{_LEFT + 110 * i}" y="30" width="12" height="12" fill="{colour}"/>'
        f'<text x="{_LEFT + 110 * i + 18}" y="40">{figure}</text>'
        for i, (figure, colour) in enumerate(_PLOTTED.items())
    ]
    legend.append(f'<path d="M{_LEFT + 336} 30v12" stroke="#c00" stroke-width="2"/>')
    legend.append(f'<text x="{_LEFT + 346}" y="40">to reach</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{y + 10}" fill="white"/>',
            '<text x="10" y="20" font-size="14" font-weight="bold">'
            "Time of ours / time of the peer (less is better)</text>",
            *legend,
            f'<path d="M{one:.1f} {_TOP}V{y}" stroke="#888" stroke-dasharray="4 3"/>',
            *body,
            "</svg>\n",
        ]
    )


def write(page: Path, figures: Figures, units: dict[str, str], runs: int, peer: Path) -> None:
    """Replace what is between the marks (at the end of a page that lacks them), and write the plot beside the page."""
    plot = page.with_suffix(".svg")
    lines = [BEGIN, "", _machine(runs, peer), "", f"![ratios]({plot.name})"]
    for kind, workloads in figures.items():
        lines += ["", f"### Images on {kind}", "", *_table(workloads, units)]
    lines += ["", END]
    text = page.read_text() if page.exists() else ""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if found and not ended:
        raise RuntimeError(f"{page}: {BEGIN} without {END}")
    page.write_text(before + "\n".join(lines) + (after if found else "\n"))
    plot.write_text(_plot(figures))
