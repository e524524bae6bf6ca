"""JPEGs and pixels of one chunk join the same batches, in the order of their rows, whatever the device refuses."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from clipfake.corpus.fetch import Fetched, FetchOptions
from clipfake.encoder import describe
from clipfake.images import device_decoder
from clipfake.images.limits import Limits
from clipfake.images.prepare import prepare
from clipfake.scoring.stages import Encode, Prepare, PrepareOptions
from clipfake.scoring.unit_chunks import JPEG, PIXELS
from clipfake.status import Status

ENCODER = describe("ViT-S-32-alt/untrained", decoder="gpu")
LIMITS = Limits()


def file(number: int, fmt: str = "jpeg") -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((130 + 10 * (number % 3), 100), Image.Resampling.BICUBIC).save(out, fmt)
    return out.getvalue()


FILES = {
    "0.jpg": file(0),
    "1.png": file(1, "png"),
    "2.jpg": file(2),
    "3.jpg": file(3)[:-200] + b"\xff\xd9",
    "4.jpg": file(4),
    "5.txt": b"no image",
    "6.webp": file(6, "webp"),
    "7.jpg": file(7),
    "8.jpg": file(8),
}
OK = [name for name in FILES if name not in ("3.jpg", "5.txt")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> pa.Table:
    """A row for each of FILES, and one of a file that could not be read."""
    options = PrepareOptions(FetchOptions(), LIMITS, ENCODER.preprocess, 1, (), ENCODER.decoder, for_a_device=True)
    stage = Prepare(tmp_path_factory.mktemp("place").as_uri(), options)
    fetched = [*(Fetched(data, Status.OK) for data in FILES.values()), Fetched(None, Status.UNREADABLE, "it is gone")]
    try:
        return stage.decode(pa.table({"item_id": [*FILES, "9.jpg"]}), fetched)
    finally:
        stage.close()


@pytest.fixture(scope="module")
def encode() -> Encode:
    return Encode(ENCODER, "fp32", "cpu", 1, 4, None, keep=True, jpegs=LIMITS)


@pytest.fixture(scope="module")
def embeddings(encode) -> dict[str, np.ndarray]:
    """As the CPU alone makes them."""
    made = [prepare(FILES[name], LIMITS, ENCODER.preprocess, decoder="gpu-1").pixels for name in OK]
    return dict(zip(OK, encode._encoder.encode(np.stack(made)), strict=True))  # type: ignore[type-var]


def check(found: pa.Table, embeddings: dict[str, np.ndarray], lost: dict[str, str] | None = None) -> None:
    lost = lost or {}
    assert found["item_id"].to_pylist() == [*FILES, "9.jpg"]
    rows = {row["item_id"]: row for row in found.to_pylist()}
    for name in OK:
        if name in lost:
            assert (rows[name]["status"], rows[name]["embedding"]) == (lost[name], None)
        else:
            assert rows[name]["status"] == "ok"
            np.testing.assert_allclose(rows[name]["embedding"], embeddings[name], rtol=0, atol=1e-6)
    assert [rows[name]["status"] for name in ("3.jpg", "5.txt", "9.jpg")] == ["truncated", "unsupported", "unreadable"]
    assert not {PIXELS, JPEG} & set(found.column_names)


def test_jpegs_travel_as_they_are_and_all_else_as_pixels(prepared):
    assert prepared[JPEG].is_valid().to_pylist() == [name in OK and name.endswith("jpg") for name in [*FILES, "9.jpg"]]
    assert prepared[PIXELS].is_valid().to_pylist() == [name in ("1.png", "6.webp") for name in [*FILES, "9.jpg"]]
    facts = {row["item_id"]: row for row in prepared.drop_columns([PIXELS, JPEG]).to_pylist()}
    assert (facts["2.jpg"]["width"], facts["2.jpg"]["height"], facts["2.jpg"]["format"]) == (150, 100, "jpeg")
    assert len({row["content_sha256"] for row in facts.values()}) == len(FILES) + 1


def test_they_join_in_the_order_of_their_rows(encode, prepared, embeddings):
    check(encode(prepared), embeddings)


def test_in_slices_of_a_chunk_too(encode, prepared, embeddings):
    twice = pa.concat_tables([prepared.slice(8), prepared])
    check(encode(twice.slice(2)), embeddings)


def test_where_none_is_a_jpeg_or_none_is_ok(encode, prepared, embeddings):
    found = encode(prepared.take([1, 6, 3])).to_pylist()
    np.testing.assert_allclose(found[0]["embedding"], embeddings["1.png"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1]["embedding"], embeddings["6.webp"], rtol=0, atol=1e-6)
    assert found[2]["embedding"] is None
    assert encode(prepared.take([3, 5]))["embedding"].null_count == 2


def test_what_the_device_refuses_a_child_decodes(encode, prepared, embeddings, monkeypatch):
    refuse(monkeypatch, {FILES["2.jpg"], FILES["8.jpg"]})
    check(encode(prepared), embeddings)
    encode._joiner._pool.close()
    del encode._joiner._pool


def test_and_its_status_counts(prepared, embeddings, monkeypatch):
    """A child may lose where a check did not: by time, or by memory."""
    encode = Encode(ENCODER, "fp32", "cpu", 1, 4, None, keep=True, jpegs=Limits(max_pixels=100))
    refuse(monkeypatch, {FILES["4.jpg"]})
    check(encode(prepared), embeddings, {"4.jpg": Status.TOO_LARGE})
    encode._joiner._pool.close()


def test_a_device_that_fails_with_all_of_them_costs_no_row(encode, prepared, embeddings, monkeypatch):
    refuse(monkeypatch, set(FILES.values()))
    check(encode(prepared), embeddings)
    encode._joiner._pool.close()
    del encode._joiner._pool


def refuse(monkeypatch, files: set[bytes]) -> None:
    """Makes the device refuse these, and every list that has one of them."""
    decode = device_decoder.decode_jpeg

    def refusing(jpegs, **options):
        if any(one.numpy().tobytes() in files for one in jpegs):
            raise RuntimeError("nvjpeg: status 5")
        return decode(jpegs, **options)

    monkeypatch.setattr(device_decoder, "decode_jpeg", refusing)
