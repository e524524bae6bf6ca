"""A few images in this process: the rows that `score` would write, whatever an image is given as."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from clipfake.detector.named import load_detector
from clipfake.errors import UsageError
from clipfake.scoring.few_images import BLOCK, SCORES, ImageEncoder, load_encoder, score_images
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score

TOLERANCE = 1e-4  # of a decision, between batch sizes


@pytest.fixture(scope="module")
def encoder(detector: Path) -> ImageEncoder:
    return load_encoder(load_detector(str(detector)), batch_size=8)


def bomb() -> bytes:
    """A PNG of a few bytes whose header promises 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_the_rows_are_those_of_a_report(detector, encoder, pictures, tmp_path):
    folder = tmp_path / "crawl"
    folder.mkdir()
    for picture in sorted(pictures.iterdir())[:6]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    whole = (folder / "00.jpg").read_bytes()
    bad = {"empty.jpg": b"", "cut.jpg": whole[: len(whole) // 2], "text.jpg": b"no image", "bomb.png": bomb()}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    score(str(folder), str(detector), str(tmp_path / "reports"), ScanOptions(), lambda _: lambda n: None)
    wanted = {row["item_id"]: row for row in ds.dataset(tmp_path / "reports").to_table().to_pylist()}
    found = score_images(sorted(folder.iterdir()), str(detector), encoder)
    assert {row["status"] for row in found} == {"ok", "empty", "truncated", "unsupported", "too_large"}
    assert {row["item_id"] for row in found} == set(wanted)
    for row in found:
        same = wanted[row["item_id"]]
        for name in ("status", "width", "height", "format", "declared", "detector", "verdict"):
            assert row[name] == same[name], name
        assert (row["error"] is None) == (same["error"] is None)
        if row["status"] == "ok":
            assert (row["content_sha256"], row["size"]) == (same["content_sha256"], same["size"])
            assert abs(row["decision"] - same["decision"]) < TOLERANCE
            assert abs(row["unfamiliarity"] - same["unfamiliarity"]) < 1e-2
        else:
            assert [row[name] for name in SCORES] == [None] * 4


def test_an_image_has_one_score_whatever_it_is_given_as(detector, encoder, pictures, tmp_path):
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(pictures / "03.jpg").crop((0, 0, 90, 60))
    upright.save(turned, exif=exif, quality=95)
    array = np.asarray(Image.open(turned).transpose(Image.Transpose.ROTATE_270))
    given = [turned, str(turned), turned.as_uri(), turned.read_bytes(), Image.open(turned), array]
    found = score_images(given, str(detector), encoder)
    assert [row["status"] for row in found] == ["ok"] * 6
    assert {(row["width"], row["height"]) for row in found} == {(60, 90)}
    assert np.ptp([row["decision"] for row in found]) < TOLERANCE
    assert [row["item_id"] is None for row in found] == [False, False, False, True, True, True]
    other = score_images([pictures / "04.jpg"], str(detector), encoder)
    assert abs(other[0]["decision"] - found[0]["decision"]) > TOLERANCE


def test_transparency_and_grey_are_shown_as_a_file_of_them_is(encoder):
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    clear = np.dstack([grey, grey.T, grey, grey])
    for pixels in (grey, clear):
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        one, two, three = encoder.encode([pixels, data.getvalue(), Image.fromarray(pixels)])
        assert np.abs(one - two).max() < 1e-5
        assert np.array_equal(one, three)


def test_what_is_no_image_is_a_row(detector, encoder, tmp_path, pictures):
    (tmp_path / "pdf.jpg").write_bytes(b"%PDF-1.7\n")
    broken = Image.open(io.BytesIO((pictures / "01.jpg").read_bytes()[:900]))
    given = [tmp_path / "none.jpg", tmp_path, tmp_path / "pdf.jpg", b"", None, bomb(), broken, Path("/dev/zero")]
    found = score_images(given, str(detector), encoder)
    statuses = ["missing", "unsupported", "unsupported", "empty", "unreadable", "too_large", "corrupt", "unreadable"]
    assert [row["status"] for row in found] == statuses
    assert all(row["error"] and row["verdict"] is None for row in found)


def test_blocks_do_not_show(encoder, pictures):
    many = [path.read_bytes() for path in sorted(pictures.iterdir())] * 2
    many[BLOCK] = b"no image"
    vectors = encoder.encode(many)
    assert vectors.shape == (len(many), encoder.description.dim)
    assert np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist() == [BLOCK]
    assert np.abs(vectors[:24] - vectors[40:64]).max() < 1e-5
    assert encoder.encode([]).shape == (0, encoder.description.dim)


def test_another_encoder_is_refused(detector):
    with (
        load_encoder("ViT-S-32-alt/untrained", feature="penultimate") as foreign,
        pytest.raises(UsageError, match="another encoder"),
    ):
        score_images([b""], str(detector), foreign)


def test_a_changed_encoder_is_refused(detector, encoder):
    trained = load_detector(str(detector))
    object.__setattr__(trained, "test_card", trained.test_card + 0.1)
    with pytest.raises(UsageError, match="test card"):
        score_images([b""], trained, encoder)


@pytest.mark.parametrize(
    "wrong",
    [
        "picture.jpg",
        b"bytes",
        np.zeros((8, 8, 3), np.uint8),
        [np.zeros((8, 8, 3))],
        [np.zeros((3, 8, 8), np.uint8)],
        [7],
    ],
)
def test_what_is_no_list_of_images_is_said(encoder, wrong):
    with pytest.raises(UsageError, match="give"):
        encoder.encode(wrong)


def test_an_encoder_by_its_name(encoder, pictures):
    images = [pictures / "07.jpg"]
    with load_encoder("ViT-S-32-alt/untrained", batch_size=1) as named:
        assert named.description.fingerprint == encoder.description.fingerprint
        assert np.abs(named.encode(images) - encoder.encode(images)).max() < 1e-5
