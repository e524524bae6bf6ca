"""`--decoder gpu`, the encoder's device being the CPU: facts as of exact, rows in order, one lost where one kills."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from clipfake.images.device_decoder import DeviceDecoder
from clipfake.scoring import executor, job
from clipfake.scoring.embed import embed
from clipfake.scoring.options import EmbedOptions, ScanOptions

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

# The driver, in a process of its own: that of the tests may have a Ray already.
DRIVER = """
import json, os, sys
from dataclasses import asdict, replace
import ray
from clipfake.scoring import job, sources
from clipfake.scoring.embed import embed
from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions

pictures, out = sys.argv[1:]
plan = job._Run._layout

def on_cpu(*args):
    actors = dict(encoders=1, encoder_cpus=0.9, encoder_gpus=0.0, preparers=1, preparer_cpus=1.0, decoders=1)
    return replace(plan(*args), device="cpu", chunk_rows=4, batch_size=2, **actors)

class Mortal(sources.Encode):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        from clipfake.images import device_decoder

        decode = device_decoder.decode_jpeg

        def deadly(jpegs, **options):
            if any(b"deadly" in one.numpy().tobytes() for one in jpegs):
                os._exit(1)
            return decode(jpegs, **options)

        device_decoder.decode_jpeg = deadly

job._Run._layout, sources.Encode = on_cpu, Mortal
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
options = ScanOptions(job=JobOptions(max_error_rate=1))
outcome = embed(
    pictures, "ViT-S-32-alt/untrained", out, options, lambda n: lambda k: None, EmbedOptions(decoder="gpu")
)
print(json.dumps(outcome.totals.status))
"""


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
    monkeypatch.setattr(executor, "_has_gpu", lambda: False)
    decode, on_device = DeviceDecoder.pixels, []
    monkeypatch.setattr(DeviceDecoder, "pixels", lambda self, jpegs: (on_device.extend(jpegs), decode(self, jpegs))[1])
    plan = job._Run._layout

    def with_preparers(*args):
        return replace(plan(*args), preparers=1, batch_size=4, chunk_rows=16)

    rows = {}
    for decoder in ("exact-2", "gpu"):
        if decoder == "gpu":
            monkeypatch.setattr(job._Run, "_layout", with_preparers)
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
@pytest.mark.timeout(600)
def test_an_image_that_kills_the_encoder_costs_its_own_row(tmp_path: Path):
    from clipfake.encoder import describe, load
    from clipfake.images.limits import Limits
    from clipfake.images.prepare import prepare

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    files = {}
    for i in range(9):
        coarse = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        made = io.BytesIO()
        picture = Image.fromarray(coarse).resize((96, 80 + i), Image.Resampling.BICUBIC)
        picture.save(made, "png" if i == 3 else "jpeg", comment=b"deadly" if i == 4 else b"harmless")
        files[f"{i}.{'png' if i == 3 else 'jpg'}"] = made.getvalue()
    for name, data in files.items():
        (pictures / name).write_bytes(data)
    command = [sys.executable, "-c", DRIVER, str(pictures), str(tmp_path / "out")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {"ok": 8, "crashed": 1}
    table = ds.dataset(str(tmp_path / "out")).to_table(columns=["item_id", "status", "embedding"])
    rows = {row["item_id"].rpartition("/")[2]: row for row in table.to_pylist()}
    assert (rows["4.jpg"]["status"], rows["4.jpg"]["embedding"]) == ("crashed", None)
    encoder = load(describe("ViT-S-32-alt/untrained", decoder="gpu"), batch_size=2)
    for name in files.keys() - {"4.jpg"}:
        pixels = prepare(files[name], Limits(), encoder.description.preprocess, decoder="gpu-1").pixels
        assert pixels is not None
        np.testing.assert_allclose(rows[name]["embedding"], encoder.encode(pixels[None])[0], rtol=0, atol=1e-5)
