"""Verdicts and scores: how they are spread, what reaches each threshold, and how familiar the images are."""

from collections.abc import Iterator
from typing import Any

from clipfake.measures.thresholds import Threshold
from clipfake.report.figures import charts
from clipfake.report.sections import BAD, CARE, GOOD, Doubt, Found, Section
from clipfake.report.tallies import Question
from clipfake.report.wording import share
from clipfake.storage.reports import Rows

BINS = 60
UNFAMILIAR_TOO_MANY = 0.1  # beyond the 0.99 quantile, where 1 % is usual
UNFAMILIAR_MANY = 0.03


def _query(question: Question) -> dict[str, Any]:
    rows, decisions = question.rows, [t["decision"] for t in question.thresholds]
    found = rows.ask("SELECT status, count(*) AS n FROM $rows GROUP BY 1 ORDER BY status <> 'ok', n DESC, 1")
    return {
        "status": {row["status"]: row["n"] for row in found},
        "flagged_at": [flagged(rows, decision) for decision in decisions],
        "histogram": histogram(rows, decisions),
        "unfamiliar": unfamiliar(rows),
    }


def flagged(rows: Rows, decision: float) -> int:
    """How many reach a threshold."""
    (found,) = rows.ask("SELECT count(*) AS n FROM $rows WHERE decision >= $at", at=decision)
    return int(found["n"])


def histogram(rows: Rows, thresholds: list[float], bins: int = BINS) -> dict[str, Any] | None:
    """Counts of the decision by verdict: {"edges": bins + 1, "real", "unsure", "fake": bins each}; None without scores.

    The range is that of the scores, but at most 6 deviations to each side of the mean, and holds the thresholds; what
    lies beyond is counted in the first and the last bin.
    """
    (s,) = rows.ask(
        """SELECT min(decision) AS low, max(decision) AS high, avg(decision) AS mean, stddev_pop(decision) AS sd
           FROM $rows"""
    )
    if s["low"] is None:
        return None
    low = min([max(s["low"], s["mean"] - 6 * s["sd"]), *thresholds])
    high = max([min(s["high"], s["mean"] + 6 * s["sd"]), *thresholds])
    width = (high - low) / bins or 1.0
    found = rows.ask(
        """SELECT verdict, greatest(least(floor((decision - $low) / $width), $last), 0)::INT AS bin, count(*) AS n
           FROM $rows WHERE decision IS NOT NULL GROUP BY ALL""",
        low=low,
        width=width,
        last=bins - 1,
    )
    counts: dict[str, Any] = {verdict: [0] * bins for verdict in ("real", "unsure", "fake")}
    for row in found:
        counts[row["verdict"]][row["bin"]] += row["n"]
    return {"edges": [low + width * i for i in range(bins + 1)], **counts}


def unfamiliar(rows: Rows) -> dict[str, int]:
    """How many were measured, and how many of them lie farther out than 95 and 99 % of the held-out images."""
    (found,) = rows.ask(
        """SELECT count(unfamiliarity) AS measured, count(*) FILTER (unfamiliarity > 0.95) AS "0.95",
           count(*) FILTER (unfamiliarity > 0.99) AS "0.99" FROM $rows"""
    )
    return found


def _draw(found: Found) -> dict[str, Any]:
    shown = found["histogram"] and charts.score_histogram(found["histogram"], found["thresholds"])
    return {"thresholds": _thresholds(found), "histogram": shown}


def _thresholds(found: Found) -> list[dict[str, Any]]:
    rates = ((found["bundle"] or {}).get("metrics") or {}).get("at_thresholds", {})
    return [
        {
            "probability": None,  # without the bundle
            **t,
            "interval": Threshold(t["fpr"], t["decision"], t["reals"]).fpr_interval(),
            "flagged": flagged,
            "on_test": rates.get(str(t["fpr"])),
        }
        for t, flagged in zip(found["thresholds"], found["flagged_at"], strict=True)
    ]


def _doubts(found: Found) -> Iterator[Doubt]:
    yield from _of_thresholds(found)
    yield from _of_images(found)


def _of_thresholds(found: Found) -> Iterator[Doubt]:
    total, fpr = found["total"], found["flag"]["fpr"]
    if fpr is None:
        yield (BAD, "The detector has no threshold at a known false-positive rate, so every verdict is `unsure`.")
        return
    if fpr > 0.01:
        yield (
            CARE,
            f"The strictest threshold lets {share(fpr)} of real images pass, so nothing is called more than unsure.",
        )
    if total["scored"] and total["flagged"] / total["scored"] <= fpr:
        yield (
            CARE,
            f"{share(total['flagged'] / total['scored'])} are flagged; were every image real, up to {share(fpr)} would "
            "be, by mistake. All of them may be false alarms.",
        )


def _of_images(found: Found) -> Iterator[Doubt]:
    measured, far = found["unfamiliar"]["measured"], found["unfamiliar"]["0.99"]
    if not measured:
        yield CARE, "How far the images are from what the detector was trained on was not measured."
        return
    text = f"{share(far / measured)} of the images are farther from its training data than 99 % of that data"
    if far / measured > UNFAMILIAR_TOO_MANY:
        yield BAD, f"{text}: for these its error rates mean little."
    elif far / measured > UNFAMILIAR_MANY:
        yield CARE, f"{text}; 1 % is usual."
    else:
        yield GOOD, f"{text}, about the usual 1 %."


SECTION = Section("scores", "Scores", 10, _query, _draw, _doubts)
