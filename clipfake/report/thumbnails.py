"""Small JPEGs of items for a page: fetched and decoded within limits in child processes, encoded here afresh."""

import base64
import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from clipfake.corpus.fetch import Fetched, FetchOptions, ItemRef, fetch
from clipfake.corpus.tar_members import find_members
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import Prepared
from clipfake.images.preprocess import Preprocess
from clipfake.status import Status

EDGE = 192  # pixels of the longer side
SECONDS = 60.0  # for all of a page: a store that is down must not hold it up
_BATCH = 4  # images whose bytes are held at once
_LIMITS = Limits(max_bytes=32 << 20, timeout_s=10.0, memory_bytes=1 << 30)
_QUALITY = 72
_NOT_FOUND = Fetched(None, Status.MISSING, "not in its archive any more, or that takes too long to read")


@dataclass(frozen=True)
class Thumbnail:
    """`uri`, a data: URI of a JPEG of `width` x `height` pixels; or none, and why."""

    uri: str | None
    width: int = EDGE
    height: int = EDGE
    reason: str | None = None


def thumbnails(
    items: Sequence[Mapping[str, Any]], bytes_column: str | None = None, seconds: float = SECONDS, edge: int = EDGE
) -> list[Thumbnail]:
    """One an item, in order; never raises for an item.

    items : with uri, member, version and size of a report's row; bytes_column : as in FetchOptions
    seconds : after which no more are begun; edge : pixels of the longer side
    """
    shape = Preprocess(size=(edge, edge), interpolation="bilinear", resize_mode="longest")
    until = time.monotonic() + seconds
    options = FetchOptions(max_bytes=_LIMITS.max_bytes, retries=1, threads=_BATCH, bytes_column=bytes_column)
    references = _located([_reference(item) for item in items], until)
    made: list[Thumbnail] = []
    if items:
        with DecoderPool(2, _LIMITS, shape) as pool:
            for start in range(0, len(items), _BATCH):
                batch = references[start : start + _BATCH]
                if time.monotonic() > until:
                    made += [Thumbnail(None, reason="the time for thumbnails was up")] * len(batch)
                else:
                    made += _batch(batch, options, pool, shape)
    return made


def _reference(item: Mapping[str, Any]) -> ItemRef:
    return ItemRef(item["uri"], item["member"], None, item["size"], item["version"])


def _batch(
    references: Sequence[ItemRef | None], options: FetchOptions, pool: DecoderPool, shape: Preprocess
) -> list[Thumbnail]:
    found = iter(fetch([one for one in references if one is not None], options))
    fetched = [_NOT_FOUND if one is None else next(found) for one in references]
    prepared = pool.prepare([one.data for one in fetched])
    return [_thumbnail(one, pixels, shape) for one, pixels in zip(fetched, prepared, strict=True)]


def _thumbnail(fetched: Fetched, prepared: Prepared, shape: Preprocess) -> Thumbnail:
    if fetched.data is None:
        return Thumbnail(None, reason=f"{fetched.status.value}: {fetched.error}")
    if prepared.pixels is None:
        return Thumbnail(None, reason=f"{prepared.status.value}: {prepared.error}")
    return _encoded(prepared, prepared.pixels, shape)


def _encoded(prepared: Prepared, pixels: np.ndarray, shape: Preprocess) -> Thumbnail:
    edge = shape.size[0]
    width, height = shape.resized(prepared.width or edge, prepared.height or edge)
    left, top = (edge - width) // 2, (edge - height) // 2  # what was padded is cut off again
    picture = io.BytesIO()
    Image.fromarray(pixels[top : top + height, left : left + width]).save(picture, "JPEG", quality=_QUALITY)
    encoded = base64.b64encode(picture.getvalue()).decode()
    return Thumbnail(f"data:image/jpeg;base64,{encoded}", width, height)


def _located(references: Sequence[ItemRef], until: float) -> list[ItemRef | None]:
    """With the offsets of members of tars, which a report does not keep; None for one that is not there any more."""
    wanted: dict[str, set[str]] = {}
    for one in references:
        if one.member is not None and one.uri.lower().endswith(".tar"):
            wanted.setdefault(one.uri, set()).add(one.member)
    offsets: dict[tuple[str, str], int] = {}
    for uri, names in wanted.items():
        with contextlib.suppress(OSError):
            offsets |= {(uri, name): offset for name, offset, _ in find_members(uri, names, until)}

    def located(one: ItemRef) -> ItemRef | None:
        if one.uri not in wanted:
            return one
        offset = offsets.get((one.uri, one.member or ""))
        return None if offset is None else replace(one, offset=offset)

    return [located(one) for one in references]
