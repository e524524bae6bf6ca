"""What other tools write is read back as it was written, in each layout; what does not fit together is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.errors import UsageError
from clipfake.operate import foreign_embeddings
from clipfake.operate.foreign_embeddings import vector_files


def vectors_of(rows, dim=8, kind=np.float16, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(kind)


def clip_retrieval(folder, sizes=(5, 3), zeros=0, **columns):
    """As clip-retrieval's writer leaves it; -> names and vectors in its order."""
    names, vectors = [], []
    for number, rows in enumerate(sizes):
        (folder / "img_emb").mkdir(parents=True, exist_ok=True)
        (folder / "metadata").mkdir(exist_ok=True)
        vectors.append(vectors_of(rows, seed=number))
        np.save(folder / "img_emb" / f"img_emb_{number:0{zeros}d}.npy", vectors[-1])
        own = [f"/images/{number}/{i}.jpg" for i in range(rows)]
        names += own
        table = pa.table({"image_path": own} | {name: made(rows) for name, made in columns.items()})
        pq.write_table(table, folder / "metadata" / f"metadata_{number:0{zeros}d}.parquet")
    return names, np.concatenate(vectors)


def read(place, layout, names=None):
    batches = [batch for part in vector_files(str(place), layout, names) for batch in part.batches()]
    return (
        [name for batch in batches for name in batch.names],
        [caption for batch in batches for caption in batch.captions],
        np.concatenate([batch.vectors for batch in batches]),
    )


@pytest.mark.parametrize("batch_rows", [2, 16_384])
def test_clip_retrieval_by_number_not_by_name(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(foreign_embeddings, "BATCH_ROWS", batch_rows)
    names, vectors = clip_retrieval(tmp_path, (2,) * 11, caption=lambda n: ["a"] * n, url=lambda n: [1] * n)
    found = read(tmp_path, "clip-retrieval")  # number 10 comes after 9
    assert found[:2] == (names, ["a"] * 22)
    np.testing.assert_array_equal(found[2], vectors)


def test_npy_beside_parquet(tmp_path):
    np.save(tmp_path / "vectors.npy", vectors_of(4, kind=np.float32))
    pq.write_table(pa.table({"n": [0.5] * 4, "sample": [7, 8, 9, 10]}), tmp_path / "ids.parquet")
    assert read(tmp_path, "npy", "sample")[0] == ["7", "8", "9", "10"]
    with pytest.raises(UsageError, match="it has n, sample"):
        vector_files(str(tmp_path), "npy")
    np.save(tmp_path / "ids.npy", vectors_of(4, kind=np.float32))
    with pytest.raises(UsageError, match=r"vectors\.npy has no Parquet"):
        vector_files(str(tmp_path), "npy", "sample")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 8), pa.large_list(pa.float64())])
def test_parquet_alone(tmp_path, kind):
    vectors = vectors_of(4, kind=np.float32)
    table = pa.table({"key": ["a", "b", "c", "d"], "image_embedding": pa.array(vectors.tolist(), kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    names, captions, found = read(tmp_path, "parquet")
    assert (names, captions) == (["a", "b", "c", "d"], [None] * 4)
    np.testing.assert_array_equal(found, vectors)


def test_ragged_rows_are_refused(tmp_path):
    pq.write_table(pa.table({"key": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="not of length 2"):
        read(tmp_path, "parquet")


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(UsageError, match="wants img_emb"):
        vector_files(str(tmp_path), "clip-retrieval")
    clip_retrieval(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", vectors_of(4))
    with pytest.raises(UsageError, match=r"4 rows and .* names 3"):
        vector_files(str(tmp_path), "clip-retrieval")
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", vectors_of(3, dim=9))
    with pytest.raises(UsageError, match="different lengths"):
        vector_files(str(tmp_path), "clip-retrieval")
    (tmp_path / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(UsageError, match="names its rows"):
        vector_files(str(tmp_path), "clip-retrieval")


def test_a_file_that_ends_too_early(tmp_path):
    clip_retrieval(tmp_path, (5,))
    file = tmp_path / "img_emb" / "img_emb_0.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UsageError, match="too early"):
        read(tmp_path, "clip-retrieval")


@pytest.mark.parametrize(
    "array",
    [np.array([[{}]], object), np.zeros(3, np.float16), np.zeros((2, 2), np.int8), np.asfortranarray(np.eye(2))],
)
def test_nothing_is_unpickled_and_only_vectors_are_taken(tmp_path, array):
    clip_retrieval(tmp_path, (2,))
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", array, allow_pickle=True)
    with pytest.raises(UsageError, match="floating-point vectors"):
        vector_files(str(tmp_path), "clip-retrieval")
    (tmp_path / "img_emb" / "img_emb_0.npy").write_bytes(b"no numpy")
    with pytest.raises(UsageError, match=r"no \.npy file"):
        vector_files(str(tmp_path), "clip-retrieval")
