"""Imported embeddings are the ones that were stored, verified by images where asked, and refused of another encoder."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipfake.encoder import describe
from clipfake.errors import UsageError
from clipfake.operate.import_embeddings import import_embeddings
from clipfake.operate.options import ImportOptions
from clipfake.scoring.few_images import load_encoder
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.vectors import matrix_of

ENCODER = "ViT-S-32-alt/untrained"  # the fixture detector's


@pytest.fixture(scope="module")
def embedded(pictures):
    """Paths of the pictures, and their embeddings in fp32."""
    paths = sorted(str(path) for path in pictures.iterdir())
    with load_encoder(ENCODER, precision="fp32") as encoder:
        return paths, encoder.encode(paths)


@pytest.fixture
def theirs(tmp_path, embedded):
    """theirs(names=paths, kind=float16, scale=1) -> a folder as clip-retrieval writes it."""

    def write(names=None, kind=np.float16, scale=1.0, vectors=None, captions=None):
        folder = tmp_path / "theirs"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "img_emb").mkdir(parents=True)
        (folder / "metadata").mkdir()
        paths, own = embedded
        np.save(folder / "img_emb" / "img_emb_0.npy", ((own if vectors is None else vectors) * scale).astype(kind))
        columns = {"image_path": names or paths} | ({"caption": captions} if captions else {})
        pq.write_table(pa.table(columns), folder / "metadata" / "metadata_0.parquet")
        return str(folder)

    return write


def rows_of(out):
    return stored_embeddings(uris.place(out)).dataset().to_table()


def test_what_was_stored_is_stored_here(theirs, embedded, tmp_path):
    paths, own = embedded
    captions = [f"no. {i}" for i in range(len(paths))]
    found = import_embeddings(theirs(captions=captions), ENCODER, f"{tmp_path}/out", ImportOptions())
    assert (found.rows, found.bad, found.scaled, found.least_cosine) == (40, 0, 0, None)
    table = rows_of(f"{tmp_path}/out")
    assert table["item_id"].to_pylist() == [uris.from_path(path) for path in paths]
    assert table["caption"].to_pylist() == captions
    np.testing.assert_array_equal(matrix_of(table["embedding"])[1], own.astype(np.float16))
    facts = read_footer(stored_embeddings(uris.place(f"{tmp_path}/out")).footer)
    assert facts["encoder"] == describe(ENCODER).fingerprint
    assert facts["precision"] == "fp16"
    assert json.loads(facts["imported"])["least_cosine"] is None


def test_again_it_writes_the_same_and_a_change_is_another_version(theirs, embedded, tmp_path):
    out = f"{tmp_path}/out"
    import_embeddings(theirs(), ENCODER, out, ImportOptions())
    before = rows_of(out)
    import_embeddings(theirs(), ENCODER, out, ImportOptions())
    assert rows_of(out).equals(before)
    changed = embedded[1].copy()
    changed[3] = changed[4]
    import_embeddings(theirs(vectors=changed), ENCODER, out, ImportOptions())
    same = np.array(rows_of(out)["version"].to_pylist()) == before["version"].to_pylist()
    assert list(np.flatnonzero(~same)) == [3]


def test_rows_of_other_lengths_are_scaled_and_those_without_a_vector_have_an_error(theirs, embedded, tmp_path):
    broken = embedded[1].copy()
    broken[0], broken[1, 2] = 0, np.inf
    found = import_embeddings(
        theirs(kind=np.float32, scale=3.0, vectors=broken), ENCODER, f"{tmp_path}/out", ImportOptions()
    )
    assert (found.rows, found.bad, found.scaled) == (40, 2, 38)
    table = rows_of(f"{tmp_path}/out")
    assert table["status"].to_pylist() == ["encoder_error"] * 2 + ["ok"] * 38
    rows, matrix = matrix_of(table["embedding"])
    assert list(rows) == list(range(2, 40))
    np.testing.assert_allclose(matrix, embedded[1][2:], atol=1e-6)


def test_names_are_paths_uris_item_ids_or_lie_below_the_root(theirs, tmp_path):
    odd = ["/a b/c.jpg", "s3://bucket/x.jpg", "file:///t.tar#a%20b.jpg", "00000/000000012"]
    names = odd + [f"n/{i}" for i in range(36)]
    import_embeddings(theirs(names=names), ENCODER, f"{tmp_path}/out", ImportOptions(root="s3://laion/2b"))
    assert rows_of(f"{tmp_path}/out")["item_id"].to_pylist()[:4] == [
        "file:///a%20b/c.jpg",
        "s3://bucket/x.jpg",
        "file:///t.tar#a%20b.jpg",
        "s3://laion/2b/00000/000000012",
    ]
    assert rows_of(f"{tmp_path}/out")["member"].to_pylist()[2] == "a b.jpg"


@pytest.mark.parametrize("name", ["{path}", "shard/{stem}", "{stem}"])
def test_verified_by_images_that_are_named(theirs, embedded, pictures, tmp_path, name):
    paths, _ = embedded
    images = tmp_path / "images" / "shard"
    shutil.copytree(pictures, images)
    names = [name.format(path=path, stem=path.rpartition("/")[2].removesuffix(".jpg")) for path in paths]
    place = str(images.parent) if "shard" in name else str(pictures)
    found = import_embeddings(theirs(names=names), ENCODER, f"{tmp_path}/out", ImportOptions(verify=place))
    assert found.compared == 32
    assert found.least_cosine > 0.9999
    facts = json.loads(read_footer(stored_embeddings(uris.place(f"{tmp_path}/out")).footer)["imported"])
    assert facts["least_cosine"] == found.least_cosine


def test_another_encoder_is_refused_before_anything_is_written(theirs, embedded, pictures, tmp_path):
    mixed = embedded[1][:, ::-1]  # of the same length, as another encoder of that size makes them
    with pytest.raises(UsageError, match="are not of ViT-S-32-alt/untrained"):
        import_embeddings(theirs(vectors=mixed), ENCODER, f"{tmp_path}/out", ImportOptions(verify=str(pictures)))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="vectors of length 16"):
        import_embeddings(theirs(vectors=embedded[1][:, :16]), ENCODER, f"{tmp_path}/out", ImportOptions())
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "elsewhere.png")
    with pytest.raises(UsageError, match="none of the images"):
        import_embeddings(theirs(), ENCODER, f"{tmp_path}/out", ImportOptions(verify=str(other)))
