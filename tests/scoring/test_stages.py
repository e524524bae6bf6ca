"""The actors that see images: facts, pixels and views a row; vectors where all is finite; a refusal in one column."""

import numpy as np
import pyarrow as pa
import pytest

from clipfake.corpus.fetch import Fetched, FetchOptions
from clipfake.encoder import describe, load
from clipfake.images.conditions.conditions import augmented
from clipfake.images.limits import Limits
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.stages import Encode, Prepare, PrepareAndEncode, PrepareOptions
from clipfake.scoring.unit_chunks import PIXELS, REFUSED, VIEWS
from clipfake.status import Status

ENCODER = describe("ViT-S-32-alt/untrained")
VIEWED = 2


@pytest.fixture(scope="module")
def prepared(pictures, tmp_path_factory) -> pa.Table:
    """Three pictures with VIEWED views each, one file that is no image, and one that could not be read."""
    options = PrepareOptions(FetchOptions(), Limits(), ENCODER.preprocess, 1, augmented(VIEWED))
    files = [file.read_bytes() for file in sorted(pictures.iterdir())[:3]]
    fetched = [*(Fetched(data, Status.OK) for data in (*files, b"no image")), Fetched(None, Status.DENIED, "not yours")]
    stage = Prepare(tmp_path_factory.mktemp("place").as_uri(), options)
    try:
        return stage.decode(pa.table({"item_id": list("01234")}), fetched)
    finally:
        stage.close()


def pixels_of(table: pa.Table) -> np.ndarray:
    height, width = ENCODER.preprocess.size
    return np.frombuffer(b"".join(table[PIXELS].to_pylist()), np.uint8).reshape(
        len(table), 1 + VIEWED, height, width, 3
    )


@pytest.fixture(scope="module")
def encode() -> Encode:
    return Encode(ENCODER, "fp32", "cpu", 1, 4, None, keep=True)


def test_prepared_rows_have_facts_and_pixels_zeros_where_there_is_none(prepared):
    assert prepared["status"].to_pylist() == ["ok"] * 3 + ["unsupported", "denied"]
    assert prepared["error"].to_pylist()[4] == "not yours"
    assert prepared["width"].to_pylist() == [96, 96, 96, None, None]
    hashes = prepared["content_sha256"].to_pylist()
    assert len(set(hashes[:4])) == 4 and None not in hashes[:4] and hashes[4] is None
    pixels = pixels_of(prepared)
    assert pixels[:3].any(axis=(2, 3, 4)).all()
    assert not pixels[3:].any()


def test_each_row_has_its_own_vector_and_those_of_its_views(prepared, encode):
    found = encode(prepared)
    assert PIXELS not in found.column_names
    expected = load(ENCODER).encode(pixels_of(prepared)[:3].reshape(-1, *ENCODER.preprocess.size, 3))
    expected = expected.reshape(3, 1 + VIEWED, -1)
    np.testing.assert_allclose(found["embedding"].to_pylist()[:3], expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(found[VIEWS].to_pylist()[:3], expected[:, 1:].reshape(3, -1), atol=1e-5)
    assert found["embedding"].to_pylist()[3:] == found[VIEWS].to_pylist()[3:] == [None, None]


def test_a_vector_that_is_not_finite_is_an_error_of_its_row(prepared, encode, monkeypatch):
    def broken(images: np.ndarray) -> np.ndarray:
        vectors = np.ones((len(images), ENCODER.dim), np.float32)
        vectors[1 + VIEWED] = np.inf  # the second picture's own
        return vectors

    monkeypatch.setattr(encode._encoder, "encode", broken)
    found = encode(prepared)
    assert found["status"].to_pylist() == ["ok", "encoder_error", "ok", "unsupported", "denied"]
    assert [row is None for row in found["embedding"].to_pylist()] == [False, True, False, True, True]


def test_an_encoder_that_is_not_the_detectors_refuses_every_chunk_in_words(prepared, detector):
    other = describe("ViT-S-32-alt/untrained", decoder="fast")
    stage = Encode(other, "fp32", "cpu", 1, 4, Bundle(str(detector)), keep=False)
    found = stage(prepared)
    assert found.column_names == [REFUSED]
    assert "encoder" in found[REFUSED][0].as_py()


def test_decoders_end_where_the_encoder_cannot_be_made():
    closed = []

    class Reader:
        def close(self) -> None:
            closed.append(True)

    def failing() -> Encode:
        raise MemoryError

    with pytest.raises(MemoryError):
        PrepareAndEncode(Reader, failing)
    assert closed == [True]
