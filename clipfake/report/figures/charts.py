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

from clipfake.report.figures.training import FAINT, FAKE, INK, REAL

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
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
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
    """Decisions by verdict, with the thresholds. found : of `clipfake.report.sections.scores.histogram`"""
    figure, (axes,) = _drawn()
    edges = np.array(found["edges"])
    counts = {name: np.array(found[name]) for name, _ in _VERDICTS}
    below = np.zeros(len(edges) - 1)
    for name, colour in _VERDICTS:
        axes.bar(edges[:-1], counts[name], np.diff(edges), bottom=below, align="edge", color=colour, label=name)
        below = below + counts[name]
    highest = below.max()
    # Where most are real, the others would not be seen.
    logarithmic = any(0 < counts[name].max() < 0.02 * highest for name in ("unsure", "fake"))
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(0.7 if logarithmic else 0, highest * (4 if logarithmic else 1.25))
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
    above.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
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


_SHORT = 22  # letters of a name in a chart


@rc_context(_STYLE)
def generators(cells: Sequence[Mapping[str, Any]]) -> Markup:
    """A line a cell: accuracy on reals and on fakes and their mean, with 95 % intervals. cells : of an evaluation"""
    figure, (axes,) = _drawn(height=1.1 + 0.42 * len(cells))
    for k, (kind, label, colour, mark) in enumerate(
        (
            ("real_accuracy", "reals", REAL, "s"),
            ("fake_accuracy", "fakes", FAKE, "^"),
            ("balanced_accuracy", "mean", INK, "o"),
        )
    ):
        at = [(i + 0.22 * (k - 1), one) for i, one in enumerate(cells) if one[kind] is not None]
        for y, one in at:
            if one[f"{kind}_low"] is not None:
                axes.plot([one[f"{kind}_low"], one[f"{kind}_high"]], [y, y], color=colour, linewidth=1.5)
        axes.plot([one[kind] for _, one in at], [y for y, _ in at], mark, color=colour, markersize=4.5, label=label)
    axes.axvline(0.5, color=FAINT, linewidth=1, linestyle=":")
    names = [one["tested_on"] or "(none)" for one in cells]
    axes.set(yticks=range(len(cells)), xlim=(-0.02, 1.02), xlabel="share that is called right (lines: 95 % interval)")
    axes.set_yticklabels([name if len(name) <= _SHORT else f"{name[: _SHORT - 1]}…" for name in names])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.yaxis.grid(visible=False)
    figure.legend(loc="outside lower center", ncols=3)
    return svg(figure, "Accuracy on reals, on fakes and their mean for each generator, with intervals")


@rc_context(_STYLE)
def reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """The share of fakes against the probability that is stated, a point a bin."""
    figure, (axes,) = _drawn()
    at, share = ([one[key] for one in bins] for key in ("probability", "fakes"))
    low = [one["fakes"] - (one["fakes"] if one["fakes_low"] is None else one["fakes_low"]) for one in bins]
    high = [(one["fakes"] if one["fakes_high"] is None else one["fakes_high"]) - one["fakes"] for one in bins]
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    axes.errorbar(at, share, yerr=np.maximum([low, high], 0), fmt="o", color=FAKE, markersize=4, linewidth=1.2)
    axes.set(xlabel="probability that is stated", ylabel="share that is fake", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return svg(figure, "Share of fakes among images of each stated probability")


@rc_context(_STYLE)
def against_strength(rows: Sequence[Mapping[str, Any]], kind: str, clean: float, measure: str) -> Markup:
    """One kind of degradation: the measure at each strength, a line an option; dotted what it is on clean images."""
    figure, (axes,) = _drawn(width=3.4, height=2.3)
    axes.axhline(clean, color=FAINT, linewidth=1, linestyle=":")
    options = list(dict.fromkeys(row["option"] for row in rows))
    numbers = kind != "social"
    for option, colour, mark in zip(
        options, (REAL, FAKE, INK, FAINT) * len(options), "o^sD" * len(options), strict=False
    ):
        mine = [row for row in rows if row["option"] == option]
        x = [row["strength"] if numbers else options.index(option) for row in mine]
        label = option if numbers else None
        axes.plot(
            x, [row[measure] for row in mine], marker=mark, color=colour, markersize=4, linewidth=1.2, label=label
        )
    if not numbers:
        axes.set_xticks(range(len(options)), options)
    axes.set(title=kind, ylim=(min(0.45, *(row[measure] for row in rows)) - 0.02, 1.02))
    if numbers and len(options) > 1:
        axes.legend(fontsize=8)
    return svg(figure, f"{measure.replace('_', ' ')} against the strength of {kind}")


@rc_context(_STYLE)
def against_epsilon(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """What is left of accuracy when pixels may be moved by so much."""
    figure, (axes,) = _drawn(height=2.6)
    at = range(len(rows))
    for kind, label, colour, mark in (("real_accuracy", "reals", REAL, "s"), ("fake_accuracy", "fakes", FAKE, "^")):
        values, low, high = (np.array([row[f"{kind}{end}"] for row in rows], float) for end in ("", "_low", "_high"))
        spread = np.maximum([values - low, high - values], 0)
        axes.errorbar(at, values, yerr=spread, marker=mark, color=colour, markersize=4, linewidth=1.2, label=label)
    axes.set_xticks(at, [f"{row['epsilon']:g}" for row in rows])
    axes.set(xlabel="largest change of a pixel, of 255", ylabel="called right", ylim=(-0.03, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    figure.legend(loc="outside lower center", ncols=2)
    return svg(figure, "Accuracy on reals and fakes against the size of an adversarial perturbation")
