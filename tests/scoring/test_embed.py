"""The job `embed`: a row an image with the encoder's vector; what is no image is refused; which precision it has."""

import numpy as np
import pyarrow.dataset as ds
import pytest

from clipfake.encoder import describe, load
from clipfake.encoder.precision import AUTO
from clipfake.errors import UsageError
from clipfake.images.limits import Limits
from clipfake.images.prepare import prepare
from clipfake.scoring import executor
from clipfake.scoring.embed import embed, embedding_precision
from clipfake.scoring.executor import InProcess
from clipfake.scoring.options import ScanOptions
from clipfake.storage.store import Store

ENCODER = "ViT-S-32-alt/untrained"


@pytest.fixture(scope="module")
def embedded(pictures, tmp_path_factory):
    """The folder of the embeddings of all pictures, made in this process; the progress that was told of."""
    folder, came = tmp_path_factory.mktemp("emb"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "at_hand", lambda: False)  # nor on a Ray that another test has started
        outcome = embed(str(pictures), ENCODER, str(folder), ScanOptions(), lambda total: came.append)
    assert outcome.totals.rows == sum(came) == 40
    assert outcome.record["options"]["encoder"] == ENCODER
    return folder


def test_each_image_has_the_vector_that_the_encoder_gives(pictures, embedded):
    rows = ds.dataset(embedded).to_table(columns=["item_id", "status", "embedding"]).sort_by("item_id").to_pylist()
    files = sorted(pictures.iterdir())
    assert [row["item_id"].rpartition("/")[2] for row in rows] == [file.name for file in files]
    assert {row["status"] for row in rows} == {"ok"}
    preprocess = describe(ENCODER).preprocess
    pixels = [prepare(file.read_bytes(), Limits(), preprocess).pixels for file in files[:4]]
    expected = load(ENCODER).encode(np.stack(pixels))
    np.testing.assert_allclose([row["embedding"] for row in rows[:4]], expected, atol=1e-5)


def test_embeddings_are_no_images_to_embed(embedded, tmp_path):
    with pytest.raises(UsageError, match="holds embeddings; embed takes a manifest or a corpus"):
        embed(str(embedded), ENCODER, str(tmp_path / "out"), ScanOptions(), lambda total: lambda came: None)
    assert not (tmp_path / "out").exists()


def test_a_folder_goes_on_in_the_precision_that_it_has(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.run_precision.fastest", lambda machines, device: "bf16")
    here = InProcess(1)
    there, new = Store(f"file://{embedded}"), Store(f"file://{tmp_path}")
    assert embedding_precision(there, AUTO, here) == "fp32"
    assert embedding_precision(new, AUTO, here) == "bf16"
    assert embedding_precision(new, None, here) == "fp32"
    assert embedding_precision(there, "fp16", here) == "fp16"
