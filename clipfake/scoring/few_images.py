"""Scoring a few images in this process: no Ray, no report folder. A bad image has a row with its status here too."""

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Final

import numpy as np
from PIL import Image

from clipfake.corpus.fetch import fetch_unlisted
from clipfake.corpus.frames import Frame, content_sha256
from clipfake.detector.bundle import Detector
from clipfake.detector.named import load_detector
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.feature import PROJECTED
from clipfake.encoder.precision import AUTO, Precision, check_precision, fastest, this_machine
from clipfake.encoder.protocol import Encoder
from clipfake.errors import UsageError
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import Prepared, prepare_image
from clipfake.images.resize import EXACT
from clipfake.status import Status
from clipfake.storage import uri as uris

GivenImage = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | None
LIMITS: Final = Limits()
BLOCK: Final = 64  # images whose pixels are held at a time
FACTS: Final = ("size", "width", "height", "format", "content_sha256", "declared")
SCORES: Final = ("decision", "probability", "verdict", "unfamiliarity")


class ImageEncoder:
    """An encoder that takes images as they come. Made by `load_encoder`; one thread at a time.

    An image is a path or URI, the bytes of a file, a PIL image, or a uint8 array of shape (height, width) or (height,
    width, 1, 3 or 4). Bytes are decoded in the pool's child processes within `limits`, as `clipfake score` does it.
    """

    def __init__(self, encoder: Encoder, pool: DecoderPool, limits: Limits) -> None:
        self._encoder, self._pool, self._limits = encoder, pool, limits

    @property
    def description(self) -> EncoderDescription:
        """What it is, as plain data; `description.fingerprint` is what detectors ask for."""
        return self._encoder.description

    @property
    def precision(self) -> Precision:
        """What it computes in: "fp32", "bf16" or "fp16"."""
        return self._encoder.precision

    @cached_property
    def test_card(self) -> np.ndarray:
        """The embedding of the built-in test card, (D,) float32."""
        return self._encoder.test_card_embedding()

    def encode(self, images: Iterable[GivenImage]) -> np.ndarray:
        """Images -> embeddings (N, D) of length 1: float32 from an fp32 encoder, else float16.

        The row of an image that cannot be read or embedded is all NaN; `embed` says why.
        """
        return self.embed(images)[1]

    def embed(self, images: Iterable[GivenImage]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """For each image a row of facts, and the embeddings (N, D), NaN where the status is not ok.

        facts : status, error, and FACTS, as the columns of a report; item_id, for a path or URI
        """
        rows: list[dict[str, Any]] = []
        vectors = [np.empty((0, self.description.dim), self._encoder.dtype)]
        for some, theirs in self._blocks(images):
            rows += some
            vectors.append(theirs)
        return rows, np.concatenate(vectors)

    def _blocks(self, images: Iterable[GivenImage]) -> Iterator[tuple[list[dict[str, Any]], np.ndarray]]:
        several = iter(_several(images))
        while block := list(islice(several, BLOCK)):
            given = [_given(image, self._limits) for image in block]
            prepared = iter(self._pool.prepare([one.data for one in given if one.data is not None]))
            ready = [self._prepared(one, prepared) for one in given]
            rows = [_facts(one, done) for one, done in zip(given, ready, strict=True)]
            vectors = np.full((len(rows), self.description.dim), np.nan, self._encoder.dtype)
            ok = [i for i, done in enumerate(ready) if done.pixels is not None]
            if ok:
                vectors[ok] = self._encoder.encode(np.stack([done.pixels for done in ready if done.pixels is not None]))
            for i in ok:
                if not np.isfinite(vectors[i]).all():
                    error = "the encoder gave a vector that is not finite"
                    rows[i] |= {"status": Status.ENCODER_ERROR.value, "error": error}
            yield rows, vectors

    def close(self) -> None:
        """Ends the decoding children, which otherwise end with this process."""
        self._pool.close()

    def __enter__(self) -> "ImageEncoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepared(self, given: "_Given", prepared: Iterator[Prepared]) -> Prepared:
        if given.data is not None:
            return next(prepared)
        if given.picture is None:
            return Prepared(given.status, given.error)
        description = self.description
        return prepare_image(given.picture, self._limits, description.preprocess, decoder=description.decoder)


def load_encoder(
    encoder: str | Detector, *, feature: str = PROJECTED, decoder: str = EXACT, precision: str | None = None,
    device: str = "cpu", batch_size: int = 32, limits: Limits = LIMITS, decoders: int = 1,
) -> ImageEncoder:  # fmt: skip
    """The encoder of that name, as `clipfake embed --encoder` takes it; of a detector, the one that it needs.

    feature, decoder : of a named encoder, as the options of `clipfake embed`
    precision : fp32, bf16, fp16, or "auto" for the fastest here; by default that in which the detector was trained,
        else fp32
    device : "cpu", "cuda" or "cuda:1"; batch_size : images a forward pass
    limits : what one image may cost; decoders : child processes that decode

    Raises UsageError for an encoder that is not known or cannot be had, or is not what the detector was trained on.
    """
    from clipfake.encoder import describe, load

    check_precision(precision)
    described = (
        EncoderDescription.from_dict(encoder.encoder)
        if isinstance(encoder, Detector)
        else describe(encoder, feature, decoder)
    )
    if precision is None:
        precision = encoder.provenance.get("precision", "fp32") if isinstance(encoder, Detector) else "fp32"
    if precision == AUTO:
        precision = fastest([this_machine()], "cuda" if device.startswith("cuda") else "cpu")
    pool = DecoderPool(decoders, limits, described.preprocess, (), described.decoder)  # starts while weights are read
    try:
        loaded = load(described, precision=precision, device=device, batch_size=batch_size)  # type: ignore[arg-type]
    except BaseException:
        pool.close()
        raise
    return ImageEncoder(loaded, pool, limits)


def score_images(
    images: Iterable[GivenImage], detector: str | Detector, encoder: ImageEncoder | None = None
) -> list[dict[str, Any]]:
    """A row for each image, in their order, with the columns of a report.

    images : paths, URIs, bytes of files, PIL images or uint8 arrays, mixed as you like
    detector : a loaded one, or its name, path or URI
    encoder : the detector's, where it is loaded already; by default it is loaded for this call

    item_id is the URI of a path and None for what has none; `decision`, `probability`, `verdict` and `unfamiliarity`
    are None unless the status is ok. Raises UsageError for a detector or encoder that cannot be used, never for what is
    in an image.
    """
    several = list(_several(images))
    loaded = load_detector(detector) if isinstance(detector, str) else detector
    with nullcontext(encoder) if encoder else load_encoder(loaded, batch_size=max(1, min(8, len(several)))) as ready:
        check_encoder(loaded, ready)
        return scored(several, loaded, ready)


def check_encoder(detector: Detector, encoder: ImageEncoder) -> None:
    """Raises UsageError unless the encoder is the detector's, and embeds the test card here as it did in training."""
    if detector.text is not None:
        detector.text.check(None)
    detector.check_encoder(encoder.description.fingerprint)
    detector.check_test_card(encoder.test_card, encoder.precision)


def scored(images: Iterable[GivenImage], detector: Detector, encoder: ImageEncoder) -> list[dict[str, Any]]:
    """`score_images` where `check_encoder` has been passed."""
    rows, vectors = encoder.embed(images)
    ok = [i for i, row in enumerate(rows) if row["status"] == Status.OK]
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in SCORES}
    if ok:
        scores = detector.score(vectors[ok])
        for name, values in columns.items():
            for i, value in zip(ok, getattr(scores, name), strict=True):
                values[i] = _plain(value)
    for i, row in enumerate(rows):
        row |= {name: values[i] for name, values in columns.items()} | {"detector": detector.fingerprint}
    return rows


@dataclass(frozen=True)
class _Given:
    """An image as it was given: its bytes, or a picture, or neither and why."""

    item_id: str | None = None
    data: bytes | Frame | None = None
    picture: Image.Image | None = None
    status: Status = Status.OK
    error: str | None = None


def _several(images: Iterable[GivenImage]) -> Iterable[GivenImage]:
    one = isinstance(images, str | os.PathLike | bytes | Image.Image)
    if one or (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim < 4):
        raise UsageError("this takes several images: give a list, for one image [image]")
    return images


def _given(image: GivenImage, limits: Limits) -> _Given:
    if image is None:
        return _Given(status=Status.UNREADABLE, error="no bytes to decode")
    if isinstance(image, bytes | bytearray | memoryview):
        return _Given(data=bytes(image))
    if isinstance(image, Image.Image):
        return _Given(picture=image)
    if isinstance(image, np.ndarray):
        shape = image.shape[:2] if image.shape[2:] == (1,) else image.shape
        if image.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
            raise UsageError(f"an image is an array of {image.dtype} {image.shape}; give uint8 (height, width, 3)")
        return _Given(picture=Image.fromarray(np.ascontiguousarray(image.reshape(shape))))
    if isinstance(image, str | os.PathLike):
        place = uris.place(os.fspath(image))
        fetched = fetch_unlisted(place, limits.max_bytes)
        return _Given(place, fetched.data, None, fetched.status, fetched.error)
    raise UsageError(f"an image is a {type(image).__name__}; give a path, bytes, a PIL image or a uint8 array")


def _facts(given: _Given, prepared: Prepared) -> dict[str, Any]:
    row: dict[str, Any] = {"item_id": given.item_id, "status": prepared.status.value, "error": prepared.error}
    row |= {name: getattr(prepared, name, None) for name in FACTS}
    if given.data is not None:
        row |= {"size": len(given.data), "content_sha256": content_sha256(given.data)}
    return row


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own, None for NaN."""
    if isinstance(value, np.floating):
        return None if np.isnan(value) else float(value)
    return value
