"""What the sections of a page ask of a report's rows: tallies, and items to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipfake.storage.reports import Rows

TALLIES = """count(*) AS n, count(*) FILTER (status <> 'ok') AS errors, count(*) FILTER (status = 'ok') AS scored,
    count(*) FILTER (verdict = 'real') AS real, count(*) FILTER (verdict = 'unsure') AS unsure,
    count(*) FILTER (verdict = 'fake') AS fake, count(*) FILTER (decision >= $flag) AS flagged"""
_ITEM = """item_id, uri, member, version, size, content_sha256, width, height, format, decision, probability, verdict,
    unfamiliarity, declared, minute"""
_COPIES = 8  # rows looked at for one that is shown: equal files are shown once


@dataclass(frozen=True)
class Question:
    """What is asked: of which rows, and with what.

    rows : of `clipfake.storage.reports.latest`; thresholds : {"fpr", "decision", "reals"} as the footer has them
    flag : the decision from which an item counts as flagged; shown : items of each kind to look at
    """

    rows: Rows
    thresholds: Sequence[Mapping[str, Any]]
    flag: float
    shown: int

    def tallies(self, query: str) -> list[dict[str, Any]]:
        """The answer to a query that says TALLIES."""
        return self.rows.ask(query, flag=self.flag)

    def all_of(self, where: str) -> list[dict[str, Any]]:
        """The items that a condition, with what may follow it in SQL, names."""
        return self.rows.ask(f"SELECT {_ITEM} FROM $rows WHERE {where}")

    def ranked(self, where: str, order: str, shown: int) -> list[dict[str, Any]]:
        """The first `shown` items, equal files once: `copies` says how many of them are among the rows looked at."""
        unique: dict[str, dict[str, Any]] = {}
        for row in self.all_of(f"{where} ORDER BY {order}, item_id LIMIT {shown * _COPIES}"):
            unique.setdefault(row["content_sha256"] or row["item_id"], row | {"copies": 0})["copies"] += 1
        return list(unique.values())[:shown]
