"""The verdict on a data set: what tells the label beside the picture, in tables, sentences and perhaps a refusal."""

from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from clipfake.audit import facts
from clipfake.audit.content import naive_baselines, name_pattern
from clipfake.audit.shortcuts import find_shortcuts, telling
from clipfake.errors import UsageError
from clipfake.measures.cross_validation import FEWEST, FoldAuc, folds
from clipfake.measures.split import unit_of


@dataclass
class Audit:
    """What was found, as JSON values; what a reader must know, a sentence each; and why not to train on it, if so."""

    found: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    refusal: str | None = None

    def check(self, allow_shortcuts: bool) -> None:
        """Raises UsageError where the label can be told from the encoding, unless that is allowed."""
        if self.refusal and not allow_shortcuts:
            raise UsageError(f"{self.refusal}; make the classes alike, or give --allow-shortcuts")

    def described(self) -> dict[str, Any]:
        """For a detector's provenance: the findings without the long tables."""
        short = {key: self.found[key] for key in ("items", "judged", "not_stored", "shortcuts", "names", "categories")}
        return {**short, "warnings": self.warnings, "refusal": self.refusal}


def unlabelled(source: str) -> UsageError:
    """What is said of a source without labels."""
    return UsageError(f"{source} holds no labelled items: index with a layout that has labels (artifact, csv, ...)")


def examine(
    source: str, database: duckdb.DuckDBPyConnection, columns: list[str], sample: int, pixels: np.ndarray | None = None
) -> Audit:
    """The tables of all items, and what tells the label in a sample of them.

    source : named where nothing is labelled (UsageError); database : from `facts.database`, columns : what it was
    given; sample : items that are judged, 0 is all; pixels : (N, 32, 32, 3) uint8 of all items by item_id, for the
    naive baselines (then sample is 0)
    """
    counts = facts.strata(database, "items")
    total = sum(counts.values())
    if not total:
        raise unlabelled(source)
    rows = facts.sampled(database, "items", sample or total)
    result = Audit(
        {
            "source": source,
            "items": {
                name: sum(n for (of, _), n in counts.items() if of == label)
                for label, name in ((0, "reals"), (1, "fakes"))
            },
            "judged": rows.num_rows,
            "not_stored": facts.lacking(database, columns),
            "facts": facts.by_class(database),
            "generators": facts.by_generator(database),
            "categories": facts.one_sided_categories(database),
            "shortcuts": None,
            "names": None,
            "baselines": None,
        }
    )
    if result.found["not_stored"]:
        result.warnings.append(f"not stored for all items, so not audited: {', '.join(result.found['not_stored'])}")
    y = rows["label"].to_numpy().astype(np.int64)
    units = [
        unit_of(group, content)
        for group, content in zip(rows["group_id"].to_pylist(), rows["content_sha256"].to_pylist(), strict=True)
    ]
    fold = folds(y, units) if len(set(y.tolist())) == 2 else None
    if fold is None:
        result.warnings.append(f"not judged: each class needs {FEWEST} items or groups, and none may be most of it")
    else:
        _judge_encoding(rows, y, fold, result)
        _judge_content(rows, y, fold, pixels, result)
    categories = result.found["categories"]
    if categories["one_sided"]:
        result.warnings.append(
            f"{categories['one_sided']} of {categories['categories']} categories are real or fake only, with "
            f"{categories['one_sided_items'] / categories['items']:.0%} of the items: content tells these"
        )
    return result


def _judge_encoding(rows: pa.Table, y: np.ndarray, fold: np.ndarray, result: Audit) -> None:
    values = {fact: _values(rows[fact]) for fact in facts.FACTS}
    generators = [name or "" for name in rows["generator"].to_pylist()]
    found = find_shortcuts(values, y, generators, fold)
    named = found.named
    result.found["shortcuts"] = {**asdict(found), "named": named, "level": found.together.level}
    if found.together.level != "ok":
        said = f"the encoding alone tells real from fake, AUC {found.together}"
        if named:
            said += f", most by {named} (alone {found.alone[named].auc:.3f}: {telling(named, values[named], y)})"
        if found.together.level == "refuse":
            result.refusal = said
        result.warnings.append(said)
    elif found.generators:
        result.warnings.append(f"the encoding alone tells the fakes of {', '.join(found.generators[:5])}")


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """A text column with None, a number's with NaN."""
    if pa.types.is_string(column.type):
        return np.asarray(column.to_pylist(), object)
    return column.cast(pa.float64()).to_numpy()  # null becomes NaN


def _judge_content(rows: pa.Table, y: np.ndarray, fold: np.ndarray, pixels: np.ndarray | None, result: Audit) -> None:
    names = name_pattern(rows["stem"].to_pylist(), y, fold)
    result.found["names"] = asdict(names)
    _warn("the pattern of the base names", names, result)
    if pixels is not None:
        baselines = naive_baselines(pixels, y, fold)
        result.found["baselines"] = {name: asdict(auc) for name, auc in baselines.items()}
        for name, auc in baselines.items():
            _warn(f"content ({name})", auc, result)


def _warn(what: str, auc: FoldAuc, result: Audit) -> None:
    if auc.level != "ok":
        result.warnings.append(f"{what} tells real from fake, AUC {auc}")
