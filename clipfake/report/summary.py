"""What a report holds, as plain values for people to look at: counts, scores, days, folders, errors, items to see."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clipfake.status import Status
from clipfake.storage.reports import Rows

BINS = 60
FOLDERS = 40
SHOWN = 24  # items of a kind
_COPIES = 8  # rows looked at for one that is shown: equal files are shown once
_HOT_ROWS = 100  # scored, for the share of fakes in a folder to mean anything
_EXAMPLES = 4
_PASSING = [status.value for status in Status if status.may_pass]
_TALLIES = """count(*) AS n, count(*) FILTER (status <> 'ok') AS errors, count(*) FILTER (status = 'ok') AS scored,
    count(*) FILTER (verdict = 'real') AS real, count(*) FILTER (verdict = 'unsure') AS unsure,
    count(*) FILTER (verdict = 'fake') AS fake, count(*) FILTER (decision >= $flag) AS flagged"""
_ITEM = """item_id, uri, member, version, size, content_sha256, width, height, format, decision, probability, verdict,
    unfamiliarity, declared, minute"""


def flag_threshold(thresholds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The threshold that counts of fakes are made at: the strictest. Where it is at most 1 %, the verdict is fake."""
    return min(thresholds, key=lambda t: t["fpr"], default=None)


def summarise(rows: Rows, thresholds: Sequence[Mapping[str, Any]], shown: int = SHOWN) -> dict[str, Any]:
    """Everything that the page counts, as JSON values.

    rows : of `latest`; thresholds : {"fpr", "decision", "reals"} as the footer has them; shown : items of each kind

    `flagged` counts what reaches the decision `flag`, that of `flag_threshold`, or above 0 where there is none.
    """
    chosen = flag_threshold(thresholds)
    flag = chosen["decision"] if chosen else math.nextafter(0, 1)
    (total,) = rows.ask(f"SELECT {_TALLIES} FROM $rows", flag=flag)
    return {
        "flag": {"decision": flag, "fpr": chosen["fpr"] if chosen else None},
        "total": total,
        "status": _status(rows),
        "flagged_at": [flagged(rows, t["decision"]) for t in thresholds],
        "histogram": histogram(rows, [t["decision"] for t in thresholds]),
        "unfamiliar": unfamiliar(rows),
        "days": rows.ask(f"SELECT day, {_TALLIES} FROM $rows GROUP BY day ORDER BY day", flag=flag),
        **folders(rows, flag),
        "errors": errors(rows),
        "declared": declared(rows, flag, shown // 2),
        "formats": rows.ask(
            f"SELECT format, {_TALLIES} FROM $rows GROUP BY format ORDER BY n DESC, format LIMIT 12", flag=flag
        ),
        **items(rows, thresholds, shown),
    }


def _status(rows: Rows) -> dict[str, int]:
    """Status -> rows, ok first, then the most frequent."""
    found = rows.ask("SELECT status, count(*) AS n FROM $rows GROUP BY 1 ORDER BY status <> 'ok', n DESC, 1")
    return {row["status"]: row["n"] for row in found}


def flagged(rows: Rows, decision: float) -> int:
    """How many reach a threshold."""
    (found,) = rows.ask("SELECT count(*) AS n FROM $rows WHERE decision >= $at", at=decision)
    return int(found["n"])


def histogram(rows: Rows, thresholds: Sequence[float], bins: int = BINS) -> dict[str, Any] | None:
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


def folders(rows: Rows, flag: float) -> dict[str, Any]:
    """Tallies by folder, at the deepest level that has at most FOLDERS folders.

    `folders`: the largest; `other_folders`: how many more there are, and their tallies; `hot_folders`: at full depth,
    those with the largest share flagged among those with 100 scored items and more.
    """
    names = "n, errors, scored, real, unsure, fake, flagged"
    rows.ask(f"CREATE OR REPLACE TEMP TABLE folders AS SELECT folder, {_TALLIES} FROM $rows GROUP BY folder", flag=flag)
    above = "array_to_string(string_split(folder, '/')[1:depth], '/')"
    depths = rows.ask(
        f"""SELECT depth, count(DISTINCT {above}) AS n
            FROM folders, range(1, (SELECT max(len(string_split(folder, '/'))) + 1 FROM folders)) AS depths (depth)
            GROUP BY depth ORDER BY depth"""
    )
    levels = [level["depth"] for level in depths if 1 < level["n"] <= FOLDERS]
    wide = [level["depth"] for level in depths if level["n"] > FOLDERS]
    depth = max(levels, default=min(wide, default=len(depths)))
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in names.split(", "))
    rows.ask(
        f"""CREATE OR REPLACE TEMP TABLE level AS SELECT {above} AS folder, {sums}
            FROM folders, (SELECT $depth AS depth) GROUP BY 1""",
        depth=depth,
    )
    largest = rows.ask(f"FROM level ORDER BY n DESC, folder LIMIT {FOLDERS}")
    (other,) = rows.ask(
        f"SELECT count(*) AS folders, {sums} FROM (FROM level ORDER BY n DESC, folder OFFSET {FOLDERS})"
    )
    hot = rows.ask(
        f"FROM folders WHERE scored >= {_HOT_ROWS} AND flagged > 0 ORDER BY flagged / scored DESC, folder LIMIT 10"
    )
    return {"folders": largest, "other_folders": other if other["folders"] else None, "hot_folders": hot}


def errors(rows: Rows) -> list[dict[str, Any]]:
    """By status: rows, whether the next run tries again, and the most frequent reasons, each with an example.

    Reasons that differ only in numbers are one.
    """
    found = rows.ask(
        f"""SELECT status, min(error) AS error, min(item_id) AS item_id, count(*) AS n,
                count(*) OVER (PARTITION BY status) AS kinds, sum(count(*)) OVER (PARTITION BY status)::BIGINT AS total
            FROM $rows WHERE status <> 'ok' GROUP BY status, regexp_replace(error, '[0-9]+', '0', 'g')
            QUALIFY row_number() OVER (PARTITION BY status ORDER BY count(*) DESC, min(error)) <= {_EXAMPLES}
            ORDER BY total DESC, status, n DESC"""
    )
    kinds: dict[str, dict[str, Any]] = {}
    for row in found:
        status = row["status"]
        may_pass = status in _PASSING
        kind = {"status": status, "n": row["total"], "may_pass": may_pass, "kinds": row["kinds"], "examples": []}
        kinds.setdefault(status, kind)["examples"].append({name: row[name] for name in ("error", "n", "item_id")})
    return list(kinds.values())


def declared(rows: Rows, flag: float, shown: int) -> dict[str, Any]:
    """What files say of themselves: `rows` by what they say, and the `items` that say so and are called real."""
    found = rows.ask(
        f"SELECT declared, {_TALLIES} FROM $rows WHERE declared IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 12",
        flag=flag,
    )
    (total,) = rows.ask(f"SELECT {_TALLIES} FROM $rows WHERE declared IS NOT NULL", flag=flag)
    against = _ranked(rows, "declared IS NOT NULL AND verdict = 'real'", "decision", shown)
    return {"total": total, "rows": found, "items": against}


def items(rows: Rows, thresholds: Sequence[Mapping[str, Any]], shown: int) -> dict[str, list[dict[str, Any]]]:
    """The items with the highest decision, those nearest to the middle between the thresholds, the least familiar."""
    cuts = [t["decision"] for t in thresholds] or [0.0]
    middle = (min(cuts) + max(cuts)) / 2
    return {
        "highest": _ranked(rows, "decision IS NOT NULL", "decision DESC", shown),
        "unsure": _ranked(rows, "decision IS NOT NULL", f"abs(decision - ({middle!r}))", shown),
        "unfamiliar_items": _ranked(rows, "unfamiliarity IS NOT NULL", "unfamiliarity DESC, decision DESC", shown),
    }


def _ranked(rows: Rows, where: str, order: str, shown: int) -> list[dict[str, Any]]:
    """The first `shown` items, equal files once: `copies` says how many of them are among the rows looked at."""
    found = rows.ask(f"SELECT {_ITEM} FROM $rows WHERE {where} ORDER BY {order}, item_id LIMIT {shown * _COPIES}")
    unique: dict[str, dict[str, Any]] = {}
    for row in found:
        unique.setdefault(row["content_sha256"] or row["item_id"], row | {"copies": 0})["copies"] += 1
    return list(unique.values())[:shown]
