"""Steps for anyone's Ray Data pipeline: classes for `Dataset.map_batches`, images in, the columns of a report out."""

from typing import Any

import numpy as np
import pyarrow as pa
from ray.data.block import BlockAccessor

from clipfake.detector.named import load_detector
from clipfake.scoring.few_images import FACTS, SCORES, check_encoder, load_encoder, scored
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.vectors import vector_column

_FACTS = ("status", "error", *FACTS)


class EmbedImages:
    """Batches with a column of images -> the same with `embedding`, `status`, `error` and what is known of each file.

    column : its name; of bytes, paths, URIs, or uint8 arrays as `ray.data.read_images` gives them
    device : by default "cuda" where there is a GPU, else "cpu"
    options : of `clipfake.load_encoder`

    A bad image is a row with its status and no embedding. Columns of these names are replaced.
    """

    def __init__(self, encoder: Any, column: str = "bytes", *, device: str | None = None, **options: Any) -> None:
        self._column = column
        self._encoder = load_encoder(encoder, device=device or _fastest_device(), **options)

    def __call__(self, batch: Any) -> pa.Table:
        table, images = _opened(batch, self._column)
        rows, vectors = self._encoder.embed(images)
        ok = np.flatnonzero([row["status"] == "ok" for row in rows])
        return _with(_with_rows(table, rows, _FACTS), "embedding", vector_column(len(rows), ok, vectors[ok]))


class ScoreImages:
    """Batches with a column of images -> the same with the columns of a report: status, verdict, probability, ...

    detector : its name, path or URI; column, device, options : as of `EmbedImages`

    A bad image is a row with its status and without a verdict. Columns of these names are replaced.
    """

    def __init__(self, detector: str, column: str = "bytes", *, device: str | None = None, **options: Any) -> None:
        self._column = column
        self._detector = load_detector(detector)
        device = device or _fastest_device()
        self._encoder = load_encoder(self._detector, device=device, **options)
        check_encoder(self._detector, self._encoder)
        self._detector = self._detector.to(device)

    def __call__(self, batch: Any) -> pa.Table:
        table, images = _opened(batch, self._column)
        return _with_rows(table, scored(images, self._detector, self._encoder), (*_FACTS, *SCORES, "detector"))


def _opened(batch: Any, column: str) -> tuple[pa.Table, Any]:
    """A batch of any format -> the table, and the images of the column."""
    table = BlockAccessor.for_block(BlockAccessor.batch_to_block(batch)).to_arrow()
    return table, BlockAccessor.for_block(table).to_numpy(column)


def _with_rows(table: pa.Table, rows: list[dict[str, Any]], names: tuple[str, ...]) -> pa.Table:
    for name in names:
        table = _with(table, name, pa.array([row[name] for row in rows], REPORT_SCHEMA.field(name).type))
    return table


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.drop_columns([name] if name in table.column_names else []).append_column(name, values)


def _fastest_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
