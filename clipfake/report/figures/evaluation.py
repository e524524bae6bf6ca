"""The figures of an evaluation, drawn as those of a training are: from the cells of its tables alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from clipfake.evaluation.protocols import ALL
from clipfake.report.figures.training import _STYLE, FAINT, FAKE, INK, REAL, _drawn, _title

Cell = Mapping[str, Any]
_NAME = 24  # letters of a name, beyond which it is cut
_BARS = (("balanced_accuracy", "balanced", INK, "o"), ("real_accuracy", "reals", REAL, "s"),
         ("fake_accuracy", "fakes", FAKE, "^"))  # fmt: skip
_CURVES = 8  # colours of Okabe and Ito; more lines than that nobody tells apart


@rc_context(_STYLE)
def heat_map(cells: Sequence[Cell], title: str, measure: str) -> Figure:
    """A row for what was trained on, a column for what was tested on; the mean over seeds, also as a number.

    Grey where there is no detector (too few rows of a class).
    """
    rows, columns = (list(dict.fromkeys(one[key] for one in cells)) for key in ("trained_on", "tested_on"))
    values = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            several = [one.get(measure) for one in cells if (one["trained_on"], one["tested_on"]) == (row, column)]
            known = [value for value in several if value is not None]
            values[i, j] = np.mean(known) if known else np.nan
    width, height = 3.6 + 0.75 * len(columns), 2.6 + 0.5 * len(rows)
    figure, (axes,) = _drawn(width=max(width, 6.0), height=height)
    colours = colormaps["cividis"].with_extremes(bad="#E4E4E4")
    image = axes.imshow(values, cmap=colours, vmin=0.5, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.78 else INK)
    _title(figure, title)
    axes.set(xlabel="tested on", ylabel="trained on", xticks=range(len(columns)), yticks=range(len(rows)))
    axes.set_xticklabels(
        [_short(name) for name in columns],
        rotation=35 if len(columns) > 3 else 0,
        ha="right" if len(columns) > 3 else "center",
    )
    axes.set_yticklabels([_short(name) for name in rows])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label=measure.replace("_", " ") if measure != "auc" else "AUC", extend="min")
    return figure


@rc_context(_STYLE)
def generator_bars(cells: Sequence[Cell], title: str) -> Figure:
    """A line a generator, the worst at the top: balanced, real and fake accuracy and the AUC, with 95 % intervals."""
    shown = sorted(cells, key=lambda one: (one["balanced_accuracy"] is None, one["balanced_accuracy"] or 0))
    figure, (axes,) = _drawn(width=8.0, height=2.2 + 0.62 * len(shown))
    for k, (measure, name, colour, mark) in enumerate((*_BARS, ("auc", "AUC", FAINT, "D"))):
        at = [(i + 0.17 * (k - 1.5), one) for i, one in enumerate(shown) if one[measure] is not None]
        for y, one in at:
            low, high = one[f"{measure}_low"], one[f"{measure}_high"]
            if low is not None:
                axes.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([one[measure] for _, one in at], [y for y, _ in at], mark, color=colour, markersize=6, label=name)
    axes.axvline(0.5, color=FAINT, linewidth=1, linestyle=":")
    _title(figure, title)
    axes.set(xlabel="share, AUC (lines: 95 % interval)", yticks=range(len(shown)), xlim=(-0.02, 1.02))
    axes.set_yticklabels(
        [f"{_short(one['tested_on'])}\n{one['reals']:,} real, {one['fakes']:,} fake" for one in shown], fontsize=9
    )
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


@rc_context(_STYLE)
def roc_curves(cells: Sequence[Cell], title: str) -> Figure:
    """One curve a generator; of more than eight those with the lowest AUC, which are the ones to look at."""
    figure, (axes,) = _drawn(width=6.6, height=6.2)
    shown = sorted(cells, key=lambda one: one["auc"])[:_CURVES]
    colours = (REAL, FAKE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, FAINT)
    for one, colour, line in zip(shown, colours, ("-", "--", "-.", ":") * 2, strict=False):
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": line,
            "linewidth": 2.4 if one["tested_on"] == ALL else 1.8,
        }
        axes.plot(
            one["roc"]["fpr"], one["roc"]["tpr"], label=f"{_short(one['tested_on'])}, AUC {one['auc']:.3f}", **style
        )
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    _title(figure, title)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", fontsize=9)
    return figure


@rc_context(_STYLE)
def reliability(one: Cell, title: str) -> Figure:
    """The share of fakes in each bin of the probability, with its interval, and below how many items a bin has."""
    figure = Figure(figsize=(6.6, 6.2), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = one["reliability"]
    x, share = ([b[key] for b in bins] for key in ("probability", "fakes"))
    spread = np.abs(np.array([[b["fakes_low"], b["fakes_high"]] for b in bins]).T - np.array(share))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="perfectly calibrated")
    label = f"measured, 95 % interval (ECE {one['ece']:.3f}, Brier {one['brier']:.3f})"
    axes.errorbar(x, share, yerr=spread, fmt="o-", color=REAL, capsize=3, linewidth=1.4, label=label)
    axes.set(ylabel="share of fakes", xlim=(-0.01, 1.01), ylim=(-0.03, 1.03))
    axes.legend(loc="upper left", fontsize=9)
    middle, width = [(b["low"] + b["high"]) / 2 for b in bins], [0.9 * (b["high"] - b["low"]) for b in bins]
    counts.bar(middle, [b["n"] for b in bins], width, color=FAINT)
    counts.set(xlabel="predicted probability of fake", ylabel="items")
    _title(figure, title)
    return figure


def _short(name: str) -> str:
    """As it can be drawn: a name comes from a stranger's folder, `$` starts mathematics in matplotlib."""
    plain = "".join(c if c.isprintable() else "?" for c in name or "(none)").replace("$", r"\$")
    return plain if len(plain) <= _NAME else plain[: _NAME - 1] + "…"
