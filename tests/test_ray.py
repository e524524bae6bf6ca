"""`clipfake.ray` in the pipeline of Ray Data that a user has: images in, the columns of a report out."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from clipfake.ray import EmbedImages, ScoreImages
from clipfake.scoring.few_images import score_images
from clipfake.storage.schemas import REPORT_SCHEMA


@pytest.fixture(scope="module")
def step(detector) -> ScoreImages:
    return ScoreImages(str(detector), batch_size=8)


@pytest.fixture(scope="module")
def blobs(pictures) -> list[bytes]:
    return [path.read_bytes() for path in sorted(pictures.iterdir())[:5]]


def test_each_format_of_batch_gives_the_rows_of_a_report(step, detector, blobs):
    images = [*blobs, b"no image", None]
    table = pa.table({"bytes": pa.array(images, pa.binary()), "id": range(len(images)), "status": ["mine"] * 7})
    batches = [table, {name: table[name].to_numpy() for name in table.column_names}, table.to_pandas()]
    wanted = score_images(images, str(detector))
    for batch in batches:
        found = step(batch)
        assert found["id"].to_pylist() == list(range(7))
        for name in ("status", "width", "format", "content_sha256", "verdict", "detector"):
            assert found.schema.field(name).type == REPORT_SCHEMA.field(name).type
            assert found[name].to_pylist() == [row[name] for row in wanted]
        assert found["status"].to_pylist()[-2:] == ["unsupported", "unreadable"]
        difference = np.subtract(found["decision"].to_pylist()[:5], [row["decision"] for row in wanted[:5]])
        assert np.abs(difference).max() < 1e-4


def test_arrays_and_paths_are_images_too(step, pictures):
    paths = [str(path) for path in sorted(pictures.iterdir())[:3]]
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    by_path, by_array = step({"bytes": np.array(paths)}), step({"bytes": arrays})
    assert np.allclose(by_path["decision"].to_pylist(), by_array["decision"].to_pylist(), atol=1e-4)


def test_embeddings_are_null_where_there_are_none(blobs, detector):
    found = EmbedImages("ViT-S-32-alt/untrained", "image", batch_size=4)({"image": np.array([blobs[0], b""], object)})
    assert found["status"].to_pylist() == ["ok", "empty"]
    one, none = found["embedding"].to_pylist()
    assert none is None
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_pipeline_of_three_lines(warm_ray, packed_detector, pictures, tmp_path):
    import ray

    (folder := tmp_path / "images").mkdir()
    for path in sorted(pictures.iterdir())[:6]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "empty.jpg").write_bytes(b"")
    images = ray.data.read_binary_files(str(folder), include_paths=True)
    scored = images.map_batches(ScoreImages, fn_constructor_args=(str(packed_detector),), batch_size=4, concurrency=1)
    scored.drop_columns(["bytes"]).write_parquet(str(tmp_path / "scored"))
    found = ray.data.read_parquet(str(tmp_path / "scored")).to_pandas().sort_values("path")
    assert found.status.tolist() == ["ok"] * 6 + ["empty"]
    assert set(found.verdict.dropna()) <= {"real", "unsure", "fake"}
    assert found.probability.notna().sum() == 6
