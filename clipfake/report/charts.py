"""Charts for pages: drawn by matplotlib, given as SVG whose colours and letters are the page's, light or dark."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from clipfake.report.figures import FAINT, FAKE, INK, REAL

GRID, PAPER = "#e4e4e4", "#fefefe"
# What stands in the SVG for each colour: the page's style sheet has one for light and one for dark.
_COLOURS = {REAL: "real", FAKE: "fake", FAINT: "unsure", INK: "ink", GRID: "line", PAPER: "page"}
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "none",
    "svg.hashsalt": "clipfake",
}
_VERDICTS = (("real", REAL), ("unsure", FAINT), ("fake", FAKE))


def svg(figure: Figure, description: str) -> Markup:
    """The figure as an <svg> for a page, with `description` for those who do not see it."""
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, name in _COLOURS.items():
        text = text.replace(colour.lower(), f"var(--{name})")
    text = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", text)
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)  # alike on every chart
    return Markup(text.replace("<svg", Markup('<svg role="img" aria-label="{}"').format(description), 1))


def _drawn(width: float = 5.4, height: float = 2.9, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, 1, **options)))


@rc_context(_STYLE)
def score_histogram(found: Mapping[str, Any], thresholds: Sequence[Mapping[str, Any]]) -> Markup:
    """Decisions by verdict, with the thresholds. found : of `summary.histogram`"""
    figure, (axes,) = _drawn()
    edges = np.array(found["edges"])
    counts = {name: np.array(found[name]) for name, _ in _VERDICTS}
    total = sum(counts.values())
    below = np.zeros(len(edges) - 1)
    for name, colour in _VERDICTS:
        axes.bar(edges[:-1], counts[name], np.diff(edges), bottom=below, align="edge", color=colour, label=name)
        below = below + counts[name]
    # Where most are real, the others would not be seen.
    logarithmic = any(0 < counts[name].max() < 0.02 * total.max() for name in ("unsure", "fake"))
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(0.7 if logarithmic else 0, total.max() * (4 if logarithmic else 1.25))
    lines = sorted(thresholds, key=lambda t: t["decision"])
    for i, threshold in enumerate(lines):
        at, last = threshold["decision"], i == len(lines) - 1
        axes.axvline(at, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        # Beside its line, on the side where no other line is, as far as there is room.
        right = last and at < edges[0] + 0.8 * (edges[-1] - edges[0])
        axes.annotate(
            f"FPR {100 * threshold['fpr']:.3g} %",
            (at, 1 if last else 1 - 0.09 * (len(lines) - 1 - i)),
            xycoords=("data", "axes fraction"),
            xytext=(4 if right else -4, -3),
            textcoords="offset points",
            ha="left" if right else "right",
            va="top",
        )
    axes.set(xlabel="decision value", ylabel="images (log scale)" if logarithmic else "images")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.xaxis.grid(visible=False)
    axes.margins(x=0.01)
    figure.legend(loc="outside lower center", ncols=3)
    return svg(figure, "Histogram of the decision values, coloured by verdict, with the thresholds")


@rc_context(_STYLE)
def by_day(days: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]]) -> Markup:
    """Above the share flagged with its interval, below how many images. shares : {"value", "low", "high"} a day"""
    figure, (above, under) = _drawn(height=3.4, rows=2, sharex=True, height_ratios=[2, 1])
    at = np.arange(len(days))
    value, low, high = (np.array([share[key] or 0.0 for share in shares]) for key in ("value", "low", "high"))
    above.errorbar(
        at, value, yerr=np.maximum([value - low, high - value], 0), fmt="o-", color=FAKE, markersize=3.5, linewidth=1.2
    )
    above.set_ylabel("flagged")
    above.set_ylim(bottom=0)
    above.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    scored, errors = ([day[name] for day in days] for name in ("scored", "errors"))
    under.bar(at, scored, 0.8, color=REAL, label="scored")
    under.bar(at, errors, 0.8, bottom=scored, color=FAINT, label="errors")
    under.set_ylabel("images")
    under.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    under.xaxis.grid(visible=False)
    under.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    names = [day["day"][5:] for day in days]
    under.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names[int(x)] if 0 <= x < len(names) else ""))
    figure.legend(loc="outside lower center", ncols=2)
    return svg(figure, "Share of images flagged by day with its interval, and how many images each day had")
