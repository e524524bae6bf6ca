"""Where the time of a run went: seconds by stage, actor and node, and which stage was slow."""

import functools
import math
import os
import sys
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from clipfake.onray import prometheus

# Each row's share of its chunk's seconds in a stage, and beside it the actor that spent them.
READING, ENCODING = "_fetch_s", "_encode_s"
SECONDS = (READING, "_decode_s", ENCODING, "_detect_s")
BEGAN, ENCODED = "_began", "_encoded"  # seconds since 1970: when a row's chunk began to be read, and was encoded
NAMES = {"fetch": "reading", "decode": "decoding", "encode": "the encoder", "detect": "the detector"}
WRITING = "writing"
MOST_CHUNKS = 65_536  # whose times are kept: 2 MB
HERE = "here"  # the node of a process that no Ray knows


def with_seconds(table: pa.Table, stage: str, seconds: float) -> pa.Table:
    """The table with each row's share of the seconds in the column `stage`, one of SECONDS, and who spent them."""
    prometheus.stage_done(_name(stage), table.num_rows, seconds)
    share = np.full(table.num_rows, seconds / max(table.num_rows, 1), np.float32)
    # Several threads of an actor may read at a time; all else they do in turn.
    who = f"{_actor()} {threading.get_native_id()}" if stage == READING else _actor()
    by = pa.repeat(pa.scalar(who), table.num_rows)
    if stage in (READING, ENCODING):
        name, at = (BEGAN, time.time() - seconds) if stage == READING else (ENCODED, time.time())
        table = table.append_column(name, pa.repeat(pa.scalar(at), table.num_rows))
    return table.append_column(stage, pa.array(share)).append_column(_by(stage), by)


@dataclass
class StageTimes:
    """What the committed rows cost. Rows that came twice are not in it."""

    by_actor: dict[str, Counter[str]] = field(default_factory=dict)  # stage -> "node pid" (and thread) -> seconds
    rows: Counter[str] = field(default_factory=Counter)  # node -> rows that came from there
    writing: float = 0.0  # seconds of commits
    _first: dict[str, float] = field(default_factory=dict)  # encoder -> when it began with its first chunk
    _chunks: array = field(default_factory=lambda: array("d"))  # of each: began, encoded, rows, seconds of encoding

    def add(self, other: "StageTimes") -> None:
        """Counts what others cost, too."""
        for stage, spent in other.by_actor.items():
            self.by_actor.setdefault(stage, Counter()).update(spent)
        for who, began in other._first.items():
            self._first[who] = min(self._first.get(who, math.inf), began)
        self._chunks.extend(other._chunks)
        if len(self._chunks) > 4 * MOST_CHUNKS:
            self._merge_chunks()
        self.rows.update(other.rows)
        self.writing += other.writing

    def count(self, table: pa.Table) -> None:
        """Counts committed rows."""
        last = None
        for stage in SECONDS:
            if stage in table.column_names:
                last = _by(stage)
                known = table.select([last, stage]).drop_null()
                sums = known.group_by(last).aggregate([(stage, "sum")]).to_pylist()
                spent = self.by_actor.setdefault(_name(stage), Counter())
                spent.update({row[last]: row[f"{stage}_sum"] for row in sums})
        if {BEGAN, ENCODED} <= {*table.column_names}:
            self._add_chunks(table)
        if last is not None:
            counted = table[last].drop_null().value_counts().to_pylist()
            for entry in counted:
                self.rows[_node(entry["values"])] += entry["counts"]

    def _add_chunks(self, table: pa.Table) -> None:
        keys = [BEGAN, ENCODED, _by(ENCODING)]
        chunks = (
            table.select([*keys, ENCODING]).drop_null().group_by(keys).aggregate([(ENCODING, "sum"), ([], "count_all")])
        )
        for chunk in chunks.to_pylist():
            who, spent = chunk[_by(ENCODING)], chunk[f"{ENCODING}_sum"]
            self._first[who] = min(self._first.get(who, math.inf), chunk[ENCODED] - spent)
            self._chunks.extend((chunk[BEGAN], chunk[ENCODED], chunk["count_all"], spent))

    def _merge_chunks(self) -> None:
        """Makes one of the chunks that were encoded at about the same time."""
        chunks = np.array(self._chunks).reshape(-1, 4)
        began, encoded, rows, spent = chunks[np.argsort(chunks[:, 1])].T
        spans = np.linspace(encoded[0], encoded[-1], MOST_CHUNKS // 2)
        _, first = np.unique(np.searchsorted(spans, encoded), return_index=True)
        merged = [np.minimum.reduceat(began, first), np.maximum.reduceat(encoded, first)]
        merged += [np.add.reduceat(rows, first), np.add.reduceat(spent, first)]
        self._chunks = array("d", np.column_stack(merged).ravel())

    def steady(self) -> dict[str, float] | None:
        """images_per_second in the steady state, its seconds, and the share of them in which the encoders `waited`.

        It begins when the first chunk is encoded that began to be read after half of the encoders were at work: what
        was decoded while they started is done by then. None where fewer than four chunks come after that one.
        """
        began, encoded, rows, spent = np.array(self._chunks).reshape(-1, 4).T
        warm = sorted(self._first.values())[len(self._first) // 2] if self._first else math.inf
        start = encoded[began > warm].min(initial=math.inf)
        counted = encoded > start
        if counted.sum() < 4:
            return None
        seconds = float(encoded.max() - start)
        waited = 1 - float(spent[counted].sum()) / (len(self._first) * seconds)
        speed = float(rows[counted].sum()) / seconds
        return {"images_per_second": speed, "seconds": seconds, "waited": max(0.0, waited)}

    def starts(self, since: float) -> dict[str, float]:
        """Seconds from `since` (in seconds since 1970) until the first chunk began to be read, until an encoder began
        with its first one, for which it needs weights and pixels, and until it was done. Empty where none was.
        """
        if not self._first:
            return {}
        began, encoded, _, _ = np.array(self._chunks).reshape(-1, 4).T
        at = {"read": began.min(), "encoding": min(self._first.values()), "encoded": encoded.min()}
        return {f"until_first_{name}": float(value) - since for name, value in at.items()}

    @property
    def by_stage(self) -> dict[str, float]:
        """Stage -> seconds, summed over actors."""
        return {stage: sum(spent.values()) for stage, spent in self.by_actor.items()}

    def by_node(self) -> dict[str, dict[str, Any]]:
        """Node -> its rows, its actors, and their seconds by stage."""
        nodes: dict[str, dict[str, Any]] = {}
        for stage, spent in self.by_actor.items():
            for actor, seconds in spent.items():
                node = nodes.setdefault(_node(actor), {"rows": 0, "actors": set(), "seconds": {}})
                node["actors"].add(actor.split(" ")[1])
                node["seconds"][stage] = node["seconds"].get(stage, 0.0) + seconds
        for name, node in nodes.items():
            node.update(rows=self.rows[name], actors=len(node["actors"]))
        return dict(sorted(nodes.items()))

    def busy(self, seconds: float) -> dict[str, float]:
        """Stage -> the share of the run's `seconds` that its actors spent in it, on average; of writing, all commits'.

        The one near 1 holds the others up. An actor with two stages has less than 1 in each. What is missing to 1 is
        the start of the actors and waiting.
        """
        if not self.by_actor or seconds <= 0:
            return {}
        stages = self.by_actor.items()
        shares = {NAMES[stage]: sum(spent.values()) / (len(spent) * seconds) for stage, spent in stages}
        return {**shares, WRITING: self.writing / seconds}


def _name(stage: str) -> str:
    return stage.strip("_").removesuffix("_s")


def _by(stage: str) -> str:
    return f"{stage.removesuffix('_s')}_by"


def _node(actor: str) -> str:
    return actor.partition(" ")[0]


@functools.cache
def _actor() -> str:
    """This process: its node's address, a space, its process id."""
    ray: Any = sys.modules.get("ray")
    inside = ray is not None and ray.is_initialized()
    return f"{ray.util.get_node_ip_address() if inside else HERE} {os.getpid()}"
