"""What is trained on: the labelled rows of a folder of embeddings, and how they are parted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.detector.text_input import TextInput
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.measures.domains import source_names
from clipfake.measures.split import OFFICIAL, SPLITS, official_parts, unit_of
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_rows, stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.store import kind_of
from clipfake.storage.vectors import matrix_of

COLUMNS = ["item_id", "version", "label", "generator", "group_id", "content_sha256", "status", "view", "embedding"]


@dataclass(frozen=True)
class Labelled:
    """Labelled embeddings, sorted by item_id and view (the order in which Ray wrote them is not stable)."""

    item_id: np.ndarray
    x: np.ndarray  # (N, D), float32 or float16 as stored
    y: np.ndarray  # (N,) int64
    generator: np.ndarray
    unit: np.ndarray
    view: np.ndarray  # (N,) int64, 0 the image itself
    encoder: EncoderDescription
    precision: str
    left_out: dict[str, int]
    text: np.ndarray | None = None  # (N, T), as stored
    text_input: TextInput | None = None
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)  # further columns, (N,) each

    @property
    def digest(self) -> str:
        """sha256 of what is trained on: identities, contents, labels, vectors."""
        digest = hashlib.sha256()
        for column in (self.item_id, self.unit, self.generator):
            digest.update("\n".join(map(str, column)).encode())
        for array in (self.x, self.y, self.view, *([] if self.text is None else [self.text])):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def source(self) -> np.ndarray:
        """(N,) where each is from, by `source_names`."""
        return source_names(self.generator)

    def take(self, rows: np.ndarray) -> "Labelled":
        """The rows of a mask or of row numbers."""
        columns = {name: getattr(self, name)[rows] for name in ("item_id", "x", "y", "generator", "unit", "view")}
        facts = {name: column[rows] for name, column in self.facts.items()}
        return replace(self, **columns, text=None if self.text is None else self.text[rows], facts=facts)

    def parts(self, split: str, seed: int) -> np.ndarray:
        """The part of each row by a name of SPLITS: "train", "val", "test"; "" for rows that no part takes.

        OFFICIAL takes the fact `split`; it raises UsageError where that does not part the items.

        An item's views are in its part. Only train takes the augmented ones; val and test are of the images.
        """
        first = np.append(True, self.item_id[1:] != self.item_id[:-1])
        y, generator, unit = (column[first].tolist() for column in (self.y, self.generator, self.unit))
        if split == OFFICIAL:
            part = official_parts(self.facts["split"][first], np.array(y), self.source[first], self.unit[first], seed)
            if not part.astype(bool).any():
                raise UsageError(
                    "--split official: the items are not parted in train and test; index them with a layout that has a "
                    "split, or leave the option out"
                )
        else:
            part = SPLITS[split](y, generator, unit, seed)
        part = part[np.cumsum(first) - 1]
        part[(part != "train") & (self.view != 0)] = ""
        return part


def read_labelled(embeddings: str, *, views: bool = False, text: bool = False, facts: Sequence[str] = ()) -> Labelled:
    """The labelled embeddings of a folder; errors, unlabelled items and items without what is asked for are counted.

    views : also the augmented views; text : also the text embeddings, and only items that have one
    facts : further columns of the embeddings, by name

    Raises UsageError where the folder holds no embeddings, nothing labelled, or no text where it is asked for.
    """
    place = uris.place(embeddings)
    if kind_of(place) != "embeddings":
        raise UsageError(
            f"{embeddings} holds no embeddings: make some with `clipfake embed MANIFEST --encoder ENC --out EMB`"
        )
    ledger = stored_embeddings(place)
    found = read_footer(ledger.footer)
    text_input = TextInput.from_footer(found)
    if text and text_input is None:
        raise UsageError(f"{embeddings} holds no text embeddings: make them with `clipfake embed --text TEMPLATE`")
    columns = dict.fromkeys([*COLUMNS, *facts, *(["text_embedding"] if text else [])])
    table = newest_rows(ledger).to_table(columns=list(columns))
    if not views or "conditions" in found:  # what robustness is measured with is not trained on
        table = table.filter(pc.field("view") == 0)
    ok, labelled = pc.equal(table["status"], "ok"), pc.is_valid(table["label"])
    left_out = {"errors": _count(pc.invert(ok)), "unlabelled": _count(pc.and_(ok, pc.invert(labelled)))}
    keep = pc.and_(ok, labelled)
    if text:
        with_text = pc.is_valid(table["text_embedding"])
        left_out["without_text"] = _count(pc.and_(keep, pc.invert(with_text)))
        keep = pc.and_(keep, with_text)
    table = table.filter(keep).sort_by([("item_id", "ascending"), ("view", "ascending")])
    if not table.num_rows:
        raise UsageError(
            f"{embeddings} holds no labelled embeddings: index with a layout that has labels (artifact, csv, ...)"
        )
    units = [
        unit_of(g, c) for g, c in zip(table["group_id"].to_pylist(), table["content_sha256"].to_pylist(), strict=True)
    ]
    return Labelled(
        np.asarray(table["item_id"].to_pylist(), object),
        matrix_of(table["embedding"])[1],
        table["label"].to_numpy().astype(np.int64),
        np.asarray(table["generator"].to_pylist(), object),
        np.asarray(units, object),
        table["view"].to_numpy().astype(np.int64),
        EncoderDescription.from_json(found["encoder_description"]),
        found["precision"],
        left_out,
        matrix_of(table["text_embedding"])[1] if text else None,
        text_input if text else None,
        {name: np.asarray(table[name].to_pylist(), object) for name in facts},
    )


def _count(mask: pa.ChunkedArray) -> int:
    return pc.sum(mask).as_py() or 0
