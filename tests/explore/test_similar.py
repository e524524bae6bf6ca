"""Looking for a picture among stored embeddings."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError
from clipfake.explore import similar as module
from clipfake.explore.similar import similar

ENCODER = "ViT-S-32-alt/untrained"


def _vectors(stored: Path) -> tuple[list[str], np.ndarray]:
    found = duckdb.sql(
        f"SELECT item_id, embedding FROM '{stored}/*.parquet' WHERE status = 'ok' AND view = 0 AND version = '1'"
    ).fetchall()
    return [name for name, _ in found], np.array([vector for _, vector in found])


def test_the_nearest_of_a_picture_are_those_of_a_plain_product(stored, pictures, monkeypatch):
    images = [str(pictures / "03.jpg"), str(pictures / "30.jpg")]
    names, x = _vectors(stored)
    for size in (module.BYTES, 1):  # all at once, and one batch after the other
        monkeypatch.setattr(module, "BYTES", size)
        found = similar(images, str(stored), 5)
        assert found["searched"] == 39
        for image, result in zip(images, found["results"], strict=True):
            query = x[names.index(f"file://{image}")]
            cosine = x @ query
            best = np.argsort(-cosine)[:5]
            assert [item["item_id"] for item in result["items"]] == [names[i] for i in best]
            assert result["items"][0]["item_id"] == f"file://{image}"
            np.testing.assert_allclose([item["cosine"] for item in result["items"]], cosine[best], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["similar", "{pictures}/00.jpg", "{pictures}"], "no embeddings"),
        (["similar", "nosuch.jpg", "{stored}"], "nosuch.jpg"),
        (["similar", "{stored}/a.parquet", "{stored}"], "cannot be decoded"),
        (["similar", "{stored}"], "give one image or more"),
        (["similar", "{pictures}/00.jpg", "{stored}", "--top", "0"], "--top"),
        (["similar", "{pictures}/00.jpg", "{stored}", "--encoder", "RN50/untrained"], "another encoder"),
        (["clusters", "{stored}", "--out", "out", "--k", "1"], "--k"),
        (["clusters", "{stored}", "--out", "{stored}"], "new or empty"),
    ],
)
def test_what_cannot_be_used_is_said(stored, pictures, arguments, says):
    given = [argument.format(stored=stored, pictures=pictures) for argument in arguments]
    error = CliRunner().invoke(app, given).exception
    assert isinstance(error, UsageError)
    assert says in str(error)
