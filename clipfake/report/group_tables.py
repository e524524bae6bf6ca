"""Groups: what the members with one group_id (frames of a video, photos of a listing) say together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from clipfake.storage.reports import Rows

TOP_K: Final = 3
STABLE: Final = 0.95  # share of random subsets that give the whole group's verdict
SIZES: Final = tuple(2**i for i in range(31))

GROUP_SCHEMA = pa.schema(
    [
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("members", pa.int64(), nullable=False),
        pa.field("scored", pa.int64(), nullable=False),
        pa.field("real", pa.int64(), nullable=False),
        pa.field("unsure", pa.int64(), nullable=False),
        pa.field("fake", pa.int64(), nullable=False),
        pa.field("fake_share", pa.float64()),
        pa.field("decision_mean", pa.float64()),
        pa.field("probability_mean", pa.float64()),
        pa.field("decision_top", pa.float64()),
        pa.field("probability_top", pa.float64()),
        pa.field("verdict", pa.string()),
        pa.field("members_needed", pa.int64()),
        pa.field("detector", pa.string(), nullable=False),
    ]
)
_BATCH = 32_768


@dataclass
class Stability:
    """By size of a random subset: groups with at least as many scored members, and the sum of their agreement."""

    groups: dict[int, int] = field(default_factory=dict)
    agreement: dict[int, float] = field(default_factory=dict)

    def add(self, scored: np.ndarray, agreement: np.ndarray) -> None:
        """Takes groups (N,) and their `agreements` (N, sizes)."""
        for size, column in zip(SIZES, agreement.T, strict=False):
            there = scored >= size
            if there.any():
                self.groups[size] = self.groups.get(size, 0) + int(there.sum())
                self.agreement[size] = self.agreement.get(size, 0.0) + float(column[there].sum())

    def table(self) -> list[dict[str, float]]:
        """One entry a size: members drawn, groups that have as many, mean share of draws with the group's verdict."""
        return [
            {"members": size, "groups": count, "agreement": self.agreement[size] / count}
            for size, count in sorted(self.groups.items())
        ]


def verdicts(real: np.ndarray, unsure: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The rule: "fake" or "real" where more than half of the scored members are; else "unsure"; None of none scored.

    real, unsure, fake : (N,) numbers of members with that verdict; -> (N,) of objects
    """
    scored = real + unsure + fake
    names = np.array([None, "unsure", "real", "fake"], object)
    return names[np.where(2 * fake > scored, 3, np.where(2 * real > scored, 2, np.where(scored > 0, 1, 0)))]


def agreements(real: np.ndarray, unsure: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The share of all subsets of 1, 2, 4, ... scored members that have the whole group's verdict, (N, sizes).

    Members are drawn without replacement, so the votes in a subset are hypergeometric and the share is exact: no
    subset needs to be drawn. A subset of more members than there are is the group itself: 1.
    """
    from scipy.stats import hypergeom

    counts, back = np.unique(np.stack([real, unsure, fake], 1), axis=0, return_inverse=True)
    real, fake, scored = counts[:, :1], counts[:, 2:], counts.sum(axis=1, keepdims=True)
    sizes = np.array(SIZES[: max(1, int(scored.max(initial=1)).bit_length())])
    drawn = np.minimum(sizes, scored)
    for_fake, for_real = (hypergeom.sf(drawn // 2, scored, votes, drawn) for votes in (fake, real))
    whole = verdicts(*counts.T)[:, None]
    share = np.where(whole == "fake", for_fake, np.where(whole == "real", for_real, 1 - for_fake - for_real))
    return np.where(drawn == scored, 1.0, share.clip(0, 1))[back.reshape(-1)]


def members_needed(scored: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    """(N,) the smallest of 1, 2, 4, ... members from which on at least STABLE of all subsets have the verdict.

    Where no size below the group's own is enough, all of its scored members.
    """
    unstable = agreement < STABLE
    last = np.where(unstable.any(axis=1), unstable.shape[1] - unstable[:, ::-1].argmax(axis=1), 0)
    return np.minimum(np.array([*SIZES[: unstable.shape[1]], 2**62])[last], scored)


def group_tables(rows: Rows, detector: str, stability: Stability, top_k: int = TOP_K) -> Iterator[pa.Table]:
    """Tables of GROUP_SCHEMA, sorted by group_id, of what one detector says; `stability` gathers all groups'.

    rows : the detector's, of `clipfake.storage.reports.latest`. A member is scored where it has a verdict; means are
        over the scored ones, and decision_top and probability_top over their `top_k` highest.

    DuckDB spills what exceeds its memory limit, so memory does not grow with the report.
    """
    found = rows.stream(
        """SELECT group_id, count(*) AS members, count(verdict) AS scored,
               count(*) FILTER (verdict = 'real') AS "real", count(*) FILTER (verdict = 'unsure') AS unsure,
               count(*) FILTER (verdict = 'fake') AS fake,
               count(*) FILTER (verdict = 'fake') / nullif(count(verdict), 0) AS fake_share,
               avg(decision) AS decision_mean, avg(probability) AS probability_mean,
               list_avg(max(decision, $k)) AS decision_top, list_avg(max(probability, $k)) AS probability_top
           FROM $rows WHERE group_id IS NOT NULL GROUP BY group_id ORDER BY group_id""",
        _BATCH,
        k=top_k,
    )
    for batch in found:
        table = pa.Table.from_batches([batch])
        real, unsure, fake, scored = (table[name].to_numpy() for name in ("real", "unsure", "fake", "scored"))
        agreement = agreements(real, unsure, fake)
        stability.add(scored, agreement)
        needed = members_needed(scored, agreement)
        made: dict[str, Any] = {
            "verdict": pa.array(verdicts(real, unsure, fake), pa.string()),
            "members_needed": pa.array(needed, pa.int64(), mask=scored == 0),
            "detector": pa.repeat(pa.scalar(detector), table.num_rows),
        }
        for name, column in made.items():
            table = table.append_column(name, column)
        yield table.select(GROUP_SCHEMA.names).cast(GROUP_SCHEMA)
