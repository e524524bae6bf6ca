"""Copies among the rows to train on: left out, or kept together in one part of the split."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from clipfake.audit.deduplication import ComparedItems
from clipfake.audit.duplicates import as_codes, grouped
from clipfake.training.dataset import Labelled


def without_copies(data: Labelled, how: str) -> tuple[Labelled, dict[str, Any]]:
    """The rows to train on, copies dropped, or grouped so that no part of a split has what another has; what was found.

    data : with the fact content_sha256; how : "drop" or "group". Embeddings are of images; an item's views go with it.
    """
    first = np.append(True, data.item_id[1:] != data.item_id[:-1])
    own, item = data.take(first), np.cumsum(first) - 1
    none, content, names = (
        np.full(len(own.y), -1),
        as_codes(own.facts["content_sha256"]),
        pa.array(own.item_id, pa.string()),
    )
    items = ComparedItems(pa.chunked_array([names]), own.y, none, as_codes(own.unit), content, own.x)
    if how == "drop":
        rest = data.take(~items.surplus[item])
        return rest, {**items.described(), "dropped": int(items.surplus.sum())}
    sets = grouped(items.near, items.group)
    joined = replace(data, unit=own.unit[sets.cluster][item])
    return joined, {**items.described(), "units": len(np.unique(sets.cluster))}


def copies_note(found: dict[str, Any]) -> str:
    """What `without_copies` found and did, in words."""
    kinds = [
        f"{found[kind]['items']} items in {found[kind]['sets']} sets of {kind} copies" for kind in ("exact", "near")
    ]
    done = f"{found['dropped']} items dropped" if "dropped" in found else "each set in one group"
    return f"duplicates: {', '.join(kinds)}; {done}"
