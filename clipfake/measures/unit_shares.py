"""Shares of items that come in units (scenes, videos, duplicates), as sums that a query adds up; whether two differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.measures.intervals import effective_items

POWER = 0.8  # with which the smallest difference is noticed that `smallest_difference` gives


@dataclass(frozen=True)
class UnitShare:
    """The share of hits among items, and what its variance between units needs.

    units, items, hits : counts; squares : sums over the units of (items^2, items x hits, hits^2)
    """

    units: int
    items: int
    hits: int
    squares: tuple[float, float, float]

    @classmethod
    def of(cls, hits: np.ndarray, unit: np.ndarray) -> "UnitShare":
        """hits : (n,) bool; unit : (n,), equal where items belong together"""
        _, code = np.unique(unit, return_inverse=True)
        n, x = np.bincount(code).astype(float), np.bincount(code, weights=np.asarray(hits, float))
        return cls(len(n), int(n.sum()), int(x.sum()), (float(n @ n), float(n @ x), float(x @ x)))

    @property
    def share(self) -> float:
        return self.hits / self.items

    def effective(self, share: float | None = None) -> float:
        """How many independent items say as much, by the variance between units about `share`, its own by default."""
        p = self.share if share is None else share
        nn, nx, xx = self.squares
        return effective_items(self.items, self.units, p, max(0.0, xx - 2 * p * nx + p * p * nn))


def difference(a: UnitShare, b: UnitShare) -> tuple[float, float]:
    """|difference| of two shares, and a p-value: Fisher's exact test at the effective numbers of items (Rao and Scott
    1992), whose variance is about the share of both together, as without a difference.
    """
    from scipy.stats import fisher_exact

    pooled = (a.hits + b.hits) / (a.items + b.items)
    table = []
    for side in (a, b):
        n = round(side.effective(pooled))
        hits = round(side.share * n)
        table.append([hits, n - hits])
    return abs(a.share - b.share), float(fisher_exact(table).pvalue)


def smallest_difference(a: UnitShare, b: UnitShare, limit: float, alpha: float) -> float:
    """The smallest change from the share of `b` that raises an alarm with a probability of POWER at these sizes.

    limit, alpha : of the alarm. By the normal approximation of the difference of two shares.
    """
    from scipy.stats import norm

    pooled = (a.hits + b.hits + 1) / (a.items + b.items + 2)
    error = np.sqrt(pooled * (1 - pooled) * sum(1 / side.effective() for side in (a, b)))
    return float(max((norm.isf(alpha / 2) + norm.isf(1 - POWER)) * error, limit + norm.isf(1 - POWER) * error))


def units_sql(rows: str, hits: Mapping[str, str]) -> str:
    """A query for `shares_of` and `design_effect`. rows : a view of a report; hits : name -> SQL of what is a hit"""
    unit = "hash(coalesce('group:' || group_id, content_sha256, item_id))"
    counts = ", ".join(f"(count(*) FILTER ({sql}))::DOUBLE AS x{i}" for i, sql in enumerate(hits.values()))
    sums = "sum({0}) AS {0}, sum(n * {0}) AS n{0}, sum({0} * {0}) AS {0}{0}"
    added = ", ".join(sums.format(name) for name in ("d", *(f"x{i}" for i in range(len(hits)))))
    bounded = "decision / (1 + abs(decision))"
    units = f"""SELECT count(*)::DOUBLE AS n, sum({bounded}) AS d, sum(({bounded}) ** 2) AS squares, {counts}
                FROM {rows} WHERE decision IS NOT NULL GROUP BY {unit}"""
    return f"SELECT count(*) AS units, sum(n) AS n, sum(n * n) AS nn, sum(squares) AS squares, {added} FROM ({units})"


def shares_of(row: Mapping[str, Any], hits: Iterable[str]) -> dict[str, UnitShare]:
    """The answer to `units_sql` -> one share for each of `hits`; none where there is no item."""
    if not row["units"]:
        return {}
    return {
        name: UnitShare(row["units"], int(row["n"]), int(row[f"x{i}"]), (row["nn"], row[f"nx{i}"], row[f"x{i}x{i}"]))
        for i, name in enumerate(hits)
    }


def design_effect(row: Mapping[str, Any]) -> float:
    """The answer to `units_sql` -> how many items say as much of the decisions' distribution as one independent item.

    That of the mean of x / (1 + |x|), which is bounded: 1 where each item is a unit of its own.
    """
    if row["units"] in (0, 1, row["n"]):
        return 1.0
    n, mean = row["n"], row["d"] / row["n"]
    between = max(0.0, row["dd"] - 2 * mean * row["nd"] + mean**2 * row["nn"])
    within = row["squares"] - n * mean**2
    return max(1.0, row["units"] / (row["units"] - 1) * between / within) if within > 0 else 1.0
