"""`--decoder gpu`, the encoder's device being the CPU: facts as of exact, rows in order, one lost where one kills."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from mortal_actors import DEADLY, InAnotherProcess
from PIL import Image

from clipfake.encoder import describe, load
from clipfake.images.device_decoder import DeviceDecoder
from clipfake.images.limits import Limits
from clipfake.images.prepare import prepare
from clipfake.scoring import executor, job
from clipfake.scoring.embed import embed
from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Other tests may have left a Ray up, whose actors would know nothing of what is patched here."""
    monkeypatch.setattr(executor, "at_hand", lambda: False)
    monkeypatch.setattr(executor, "_has_gpu", lambda: False)


@pytest.mark.parametrize("folder", ["crawl", "cases"])
def test_statuses_and_facts_are_those_of_exact(folder, tmp_path, monkeypatch):
    """Of whole, cut off, foreign and many other files, by the actors of a machine with a GPU, in this process."""
    found = [path for path in sorted((SHARED / folder).rglob("*")) if path.suffix in (".jpg", ".png", ".webp", ".dng")]
    if not found:
        pytest.skip("needs ../shared/data, which is only on development machines")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, path in enumerate(found[:: 1 + len(found) // 40]):
        shutil.copy(path, pictures / f"{i:03d}{path.suffix}")
        if path.suffix == ".jpg" and i % 4 == 0:
            data = path.read_bytes()
            (pictures / f"{i:03d}-half.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9" * (i % 8))
    decode, on_device = DeviceDecoder.pixels, []
    monkeypatch.setattr(DeviceDecoder, "pixels", lambda self, jpegs: (on_device.extend(jpegs), decode(self, jpegs))[1])
    rows = {}
    for decoder in ("exact-2", "gpu"):
        if decoder == "gpu":
            with_a_gpu(monkeypatch, batch_size=4, chunk_rows=16)
        out, what = str(tmp_path / decoder), EmbedOptions(decoder=decoder)
        outcome = embed(str(pictures), "ViT-S-32-alt/untrained", out, ScanOptions(), lambda n: lambda k: None, what)
        table = ds.dataset(out).to_table()
        rows[decoder] = {row["item_id"]: row for row in table.to_pylist()}
        assert outcome.totals.rows == len(list(pictures.iterdir()))
    jpegs = sum((row["status"], row["format"]) == ("ok", "jpeg") for row in rows["gpu"].values())
    assert len(on_device) == jpegs > 0
    assert rows["gpu"].keys() == rows["exact-2"].keys()
    for item, exact in rows["exact-2"].items():
        vectors = [row.pop("embedding") for row in (exact, rows["gpu"][item])]
        assert rows["gpu"][item] == exact
        if exact["status"] == "ok":
            np.testing.assert_allclose(vectors[1], vectors[0], rtol=0, atol=5e-3)
        else:
            assert vectors == [None, None]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_image_that_kills_the_encoder_costs_its_own_row(packed_encoder, tmp_path, monkeypatch):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    files = {}
    for i in range(9):
        coarse = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        made = io.BytesIO()
        picture = Image.fromarray(coarse).resize((96, 80 + i), Image.Resampling.BICUBIC)
        picture.save(made, "png" if i == 3 else "jpeg", comment=DEADLY if i == 4 else b"harmless")
        files[f"{i}.{'png' if i == 3 else 'jpg'}"] = made.getvalue()
    for name, data in files.items():
        (pictures / name).write_bytes(data)
    with_a_gpu(monkeypatch, batch_size=2, chunk_rows=4)
    monkeypatch.setattr(executor, "InProcess", InAnotherProcess)
    options, what = ScanOptions(job=JobOptions(max_error_rate=1)), EmbedOptions(decoder="gpu")
    out = str(tmp_path / "out")
    outcome = embed(str(pictures), str(packed_encoder), out, options, lambda n: lambda k: None, what)
    assert outcome.totals.status == {"ok": 8, "crashed": 1}
    table = ds.dataset(out).to_table(columns=["item_id", "status", "embedding"])
    rows = {row["item_id"].rpartition("/")[2]: row for row in table.to_pylist()}
    assert (rows["4.jpg"]["status"], rows["4.jpg"]["embedding"]) == ("crashed", None)
    encoder = load(describe(str(packed_encoder), decoder="gpu"), batch_size=2)
    for name in files.keys() - {"4.jpg"}:
        pixels = prepare(files[name], Limits(), encoder.description.preprocess, decoder="gpu-1").pixels
        assert pixels is not None
        np.testing.assert_allclose(rows[name]["embedding"], encoder.encode(pixels[None])[0], rtol=0, atol=1e-5)


def with_a_gpu(monkeypatch, **sizes) -> None:
    """Lays the work out as on a machine with one, but for the encoder's device."""
    plan = job._Run._placement
    monkeypatch.setattr(job._Run, "_placement", lambda *args: replace(plan(*args), preparers=1, **sizes))
