"""The figures of a training, as matplotlib draws them: light, legible, in colours that colour-blind readers tell apart.

Each function gives a Figure; `png` its bytes. No window, no global state of pyplot.
"""

import io
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

REAL, FAKE, INK, FAINT = "#0072B2", "#D55E00", "#222222", "#8C8C8C"  # Okabe and Ito's blue and vermilion
CLASSES = (("real", REAL, "o"), ("fake", FAKE, "^"))
_STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 120,
}
_POINTS = 3000  # of a scatter plot, beyond which it is one blot


def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _title(figure: Figure, title: str) -> None:
    """Above all panels, folded where a line would not fit."""
    width = int(figure.get_figwidth() * 11.5)
    figure.suptitle("\n".join(line for part in title.splitlines() for line in wrap(part, width)), fontsize=11)


def _drawn(columns: int = 1, width: float = 7.0, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(1, columns)))


@rc_context(_STYLE)
def loss_curves(history: Sequence[Mapping[str, float]], best_epoch: int, margin: float, title: str) -> Figure:
    """Training and validation loss by epoch, and the epoch (counted from 0) whose head was kept."""
    figure, (axes,) = _drawn()
    epochs = np.arange(1, len(history) + 1)
    for key, name, colour, mark in (("train_loss", "training", REAL, "o"), ("val_loss", "validation", FAKE, "^")):
        axes.plot(epochs, [entry[key] for entry in history], color=colour, marker=mark, markersize=4, label=name)
    axes.axvline(best_epoch + 1, ymax=0.86, color=INK, linewidth=1.2, linestyle="--")
    right = best_epoch + 1 > 0.7 * len(history)
    axes.annotate(
        f"kept: epoch {best_epoch + 1}, stopped at {len(history)}",
        (best_epoch + 1, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
    )
    _title(figure, title)
    axes.set(xlabel="epoch", ylabel=f"triplet loss (margin {margin:g}), distance")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=2)
    return figure


@rc_context(_STYLE)
def distance_histograms(positive: np.ndarray, negative: np.ndarray, title: str) -> Figure:
    """Distances of anchors to positives (their own class) and to negatives."""
    figure, (axes,) = _drawn()
    farthest = max(float(found.max(initial=0.1)) for found in (positive, negative))
    bins = np.linspace(0, np.ceil(10 * farthest) / 10, 51)
    for found, name, colour, hatch in (
        (positive, "anchor to positive (same class)", REAL, ""),
        (negative, "anchor to negative (other class)", FAKE, "////"),
    ):
        weights = np.full(len(found), 1 / max(len(found), 1))
        mean = f"{found.mean():.3f}" if len(found) else "-"
        style: dict[str, Any] = {"histtype": "stepfilled", "edgecolor": colour, "hatch": hatch, "linewidth": 1.4}
        axes.hist(
            found, bins=bins.tolist(), weights=weights, facecolor=f"{colour}55", label=f"{name}, mean {mean}", **style
        )
    _title(figure, title)
    axes.set(xlabel="Euclidean distance on the unit sphere", ylabel="share of pairs a bin")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_ylim(top=axes.get_ylim()[1] * 1.22)
    axes.legend(loc="upper center")
    return figure


@rc_context(_STYLE)
def pca_scatter(scores: np.ndarray, y: np.ndarray, shares: np.ndarray, title: str) -> Figure:
    """(N, 2) scores on the first two components, by class; beyond 3,000 points evenly spaced ones of them."""
    figure, (axes,) = _drawn(width=6.6, height=5.4)
    shown = np.unique(np.linspace(0, len(y) - 1, min(len(y), _POINTS)).astype(int))
    size = 26 if len(shown) < 500 else 9
    for label, (name, colour, mark) in enumerate(CLASSES):
        mine = shown[y[shown] == label]
        axes.scatter(
            scores[mine, 0], scores[mine, 1], s=size, c=colour, marker=mark, alpha=0.55, linewidths=0, label=name
        )
    _title(figure, title)
    axes.set(xlabel=f"component 1 ({shares[0]:.1%} of variance)", ylabel=f"component 2 ({shares[1]:.1%})")
    axes.legend(loc="best", markerscale=1.5)
    return figure


@rc_context(_STYLE)
def cumulative_variance(shares: np.ndarray, title: str) -> Figure:
    """The share of variance that the first k components hold, with those that 90 and 99 % need."""
    figure, (axes,) = _drawn()
    total = np.cumsum(shares)
    axes.plot(np.arange(1, len(total) + 1), total, color=REAL, marker=".", markersize=5)
    axes.plot([1], [total[0]], "s", color=INK, label=f"first component: {total[0]:.1%}")
    for level, mark in ((0.9, "o"), (0.99, "^")):
        needed = int(np.searchsorted(total, level)) + 1
        if needed <= len(total):
            name = f"{level:.0%}: {needed} component{'s' if needed > 1 else ''}"
            axes.plot([needed], [total[needed - 1]], mark, color=FAKE, markersize=8, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _title(figure, title)
    axes.set(xlabel="principal components", ylabel="share of variance, cumulative")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_ylim(0, 1.03)
    axes.set_xlim(0, len(total) + 1)
    axes.legend(loc="lower right")
    return figure


@rc_context(_STYLE)
def confusion_matrices(confusions: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """One matrix a part: rows are the truth, columns the call; counts, and the share of the row."""
    figure, panels = _drawn(len(confusions), width=3.5 * len(confusions), height=4.4)
    _title(figure, title)
    for axes, (part, counts) in zip(panels, confusions.items(), strict=True):
        matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]])
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            ink = "white" if shares[row, column] > 0.6 else INK
            axes.text(column, row, f"{count:,}\n{shares[row, column]:.1%}", ha="center", va="center", color=ink)
        axes.set(title=f"{part} ({matrix.sum():,})", xlabel="called", xticks=[0, 1], yticks=[0, 1])
        axes.set_xticklabels(["real", "fake"])
        axes.set_yticklabels(["real", "fake"])
        axes.grid(visible=False)
    panels[0].set_ylabel("truth")
    return figure


@rc_context(_STYLE)
def metric_bars(tables: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Figure:
    """Accuracy and the mean precision, recall and F1 of each part, with 95 % intervals."""
    figure, (axes,) = _drawn(width=8.0)
    names = ("accuracy", "precision macro", "recall macro", "F1 macro")
    colours = dict(zip(tables, (REAL, FAINT, FAKE), strict=False))
    for i, (part, table) in enumerate(tables.items()):
        at = np.arange(len(names)) + 0.26 * (i - (len(tables) - 1) / 2)
        values = np.array([[table[name][key] or 0.0 for name in names] for key in ("value", "low", "high")])
        spread = np.abs(values[1:] - values[0])
        axes.bar(at, values[0], 0.24, yerr=spread, color=colours[part], ecolor=INK, capsize=3, label=part)
        for x, value, top in zip(at, values[0], values[2], strict=True):
            axes.text(x, max(value, top) + 0.012, f"{value:.1%}", ha="center", fontsize=8)
    _title(figure, title)
    axes.set(ylabel="share (whiskers: 95 % interval)", xticks=range(len(names)), ylim=(0, 1.24))
    axes.set_xticklabels(["accuracy", "precision\n(mean)", "recall\n(mean)", "F1\n(mean)"])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper center", ncols=len(tables))
    return figure


@rc_context(_STYLE)
def accuracies(rows: Sequence[tuple[str, Mapping[str, Any], float | None, float]], title: str) -> Figure:
    """One line an experiment: (name, {"value", "low", "high"}, the source's accuracy or None, the raw linear SVM's)."""
    figure, (axes,) = _drawn(width=7.6, height=1.6 + 0.42 * len(rows))
    for i, (_, ours, source, raw) in enumerate(rows):
        axes.plot([ours["low"], ours["high"]], [i, i], color=REAL, linewidth=2.5, solid_capstyle="butt")
        axes.plot([ours["value"]], [i], "o", color=REAL, label="here, 95 % interval" if i == 0 else None)
        axes.plot(
            [raw], [i], "|", color=INK, markersize=12, label="here, linear SVM on the raw embedding" if i == 0 else None
        )
        if source is not None:
            axes.plot([source], [i], "^", color=FAKE, label="the source's report, its data" if i == 0 else None)
    if min(ours["low"] for _, ours, *_ in rows) < 0.6:
        axes.axvline(0.5, color=FAINT, linewidth=1, linestyle=":")
    _title(figure, title)
    axes.set(xlabel="accuracy on the test part", yticks=range(len(rows)))
    axes.set_yticklabels([name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure
