"""The figures of robustness: what is left by kind of degradation, mild to strong, and under attack by epsilon."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from clipfake.images.conditions.kinds import KINDS
from clipfake.report.figures.training import _STYLE, FAINT, FAKE, INK, REAL, _title

Row = Mapping[str, Any]
_COLUMNS = 4
_GREEN = "#009E73"  # Okabe and Ito's
_LINES = (
    ("auc", "AUC", FAINT, "D"),
    ("balanced_accuracy", "balanced accuracy", INK, "o"),
    ("real_accuracy", "real accuracy", REAL, "s"),
    ("fake_accuracy", "fake accuracy", FAKE, "^"),
)


@rc_context(_STYLE)
def robustness(rows: Sequence[Row], title: str) -> Figure:
    """A panel a kind (and filter): AUC, accuracies at a decision of 0, TPR and FPR at the lowest frozen threshold.

    rows : of `clipfake.evaluation.robustness_tables.sweep`. Bands are 95 % intervals; dotted is a coin's throw.
    """
    clean, groups = rows[0], _panels(rows[1:])
    lines = -(-(len(groups) + 1) // _COLUMNS)  # the last panel is the legend's
    figure = Figure(figsize=(3.5 * _COLUMNS, 2.75 * lines + 0.7), layout="constrained")
    panels = list(np.ravel(figure.subplots(lines, _COLUMNS, sharey=True, squeeze=False)))
    for axes, (name, mine) in zip(panels, groups.items(), strict=False):
        _panel(axes, [*_with_clean(mine, clean)], [_tick(row) for row in _with_clean(mine, clean)])
        axes.set_xlabel(name, fontsize=10)
    for axes in panels[len(groups) :]:
        axes.axis("off")
    for axes in panels[::_COLUMNS]:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_ylim(0, 1.03)
    handles, labels = panels[0].get_legend_handles_labels()
    panels[len(groups)].legend(handles, labels, loc="center left", fontsize=10)
    _title(figure, title)
    return figure


@rc_context(_STYLE)
def adversarial(rows: Sequence[Row], title: str) -> Figure:
    """What is left against the bound of the attack, of 255; 0 is clean.

    rows : of `clipfake.evaluation.attack.adversarial`
    """
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    _panel(axes, rows, [f"{row['epsilon']:g}" for row in rows])
    _title(figure, title)
    axes.set(xlabel="largest change of a pixel's value, of 255 (0: clean)", ylabel="share")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_ylim(0, 1.03)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _panel(axes: Axes, rows: Sequence[Row], ticks: Sequence[str]) -> None:
    at = np.arange(len(rows))
    for key, name, colour, mark in _LINES:
        if key in rows[0]:
            axes.plot(
                at, [row[key] for row in rows], color=colour, marker=mark, markersize=4, linewidth=1.3, label=name
            )
        if f"{key}_low" in rows[0]:
            low, high = ([row[f"{key}{end}"] for row in rows] for end in ("_low", "_high"))
            axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
    if rates := rows[0]["at_thresholds"]:
        rate = max(rates, key=float)
        for which, mark, style in (("tpr", "P", "-"), ("fpr", "X", "--")):
            values = [row["at_thresholds"][rate][which] for row in rows]
            name = f"{which.upper()} at the {float(rate):.0%} threshold"
            axes.plot(at, values, style, color=_GREEN, marker=mark, markersize=4, linewidth=1.1, label=name)
    axes.axhline(0.5, color=FAINT, linewidth=0.9, linestyle=":")
    axes.set_xticks(at)
    axes.set_xticklabels(ticks, fontsize=8, rotation=30 if max(map(len, ticks)) > 5 else 0)
    axes.set_xlim(-0.35, len(rows) - 0.65)


def _panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What a panel is about -> its rows: a kind, and each of its options that has several strengths."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        kind = KINDS[row["kind"]]
        option = kind.panel(row["option"])
        groups.setdefault(kind.measures + (f", {_short(option)}" if option else ""), []).append(row)
    return groups


def _with_clean(rows: Sequence[Row], clean: Row) -> list[Row]:
    """From mild to strong, the clean images where their strength lies: first, but between dark and bright."""
    none = KINDS[rows[0]["kind"]].none
    strengths = [row["strength"] for row in rows]
    ordered = sorted([*rows, clean], key=lambda row: none if row is clean else row["strength"])
    return ordered[::-1] if none > max(strengths) else ordered


def _tick(row: Row) -> str:
    return "clean" if row["strength"] is None else KINDS[row["kind"]].tick(row["strength"], row["option"])


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"...{text[-21:]}"
