"""Training: the same detector from the same data and seed, figures that anyone can recompute, clear refusals."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

from clipfake.corpus.store import Store
from clipfake.detector.bundle import Detector
from clipfake.encoder.encoder import describe
from clipfake.engine.head_training import HeadOptions
from clipfake.engine.labelled import read_labelled
from clipfake.engine.ledger import Ledger
from clipfake.engine.train import TrainOptions, train
from clipfake.errors import UsageError
from clipfake.evaluation.split import split_units
from clipfake.report.schema import embedding_schema, footer

ENCODER = "ViT-S-32-alt/untrained"
ROWS = 900


@pytest.fixture(scope="module")
def description():
    return describe(ENCODER)


@pytest.fixture
def embeddings(tmp_path: Path, description) -> Path:
    return write_embeddings(tmp_path / "emb", description)


def write_embeddings(folder: Path, description, labels: np.ndarray | None = None) -> Path:
    """ROWS embeddings of two classes that overlap, in an order that is not that of their names."""
    random = np.random.default_rng(3)
    y = np.arange(ROWS) % 2 if labels is None else labels
    x = random.normal(size=(ROWS, description.dim)).astype(np.float32)
    x[:, :8] += 0.5 * np.nan_to_num(np.asarray(y, np.float32))[:, None]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    schema = embedding_schema(description.dim, "fp32")
    names = [f"file:///c/{i:04d}.jpg" for i in random.permutation(ROWS)]
    columns = {
        "item_id": names, "uri": names, "version": ["1"] * ROWS, "view": [0] * ROWS, "status": ["ok"] * ROWS,
        "label": [None if v is None else int(v) for v in y], "generator": [f"g{i % 3}" for i in range(ROWS)],
        "content_sha256": [f"{i:064d}" for i in range(ROWS)], "embedding": list(x),
    }  # fmt: skip
    table = pa.table([pa.array(columns.get(f.name, [None] * ROWS), f.type) for f in schema], schema=schema)
    facts = {
        "encoder": description.fingerprint,
        "encoder_description": description.to_dict(),
        "precision": "fp32",
    }
    ledger = Ledger(
        Store(f"file://{folder}"), "embeddings", schema, description.fingerprint, footer("embeddings", facts)
    )
    ledger.commit("part.parquet", table)
    return folder


@pytest.mark.slow
def test_one_seed_one_detector_and_metrics_that_can_be_recomputed(warm_ray, embeddings, tmp_path):
    options = TrainOptions(HeadOptions(epochs=3))
    first = train(str(embeddings), str(tmp_path / "a"), options)
    second = train(str(embeddings), str(tmp_path / "b"), options)
    other = train(str(embeddings), str(tmp_path / "c"), TrainOptions(HeadOptions(epochs=3, seed=1)))
    assert first.detector.fingerprint == second.detector.fingerprint != other.detector.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "emb"]  # no checkpoints left

    # Independently: the stored rows, the split, the bundle as loaded, scikit-learn's metrics.
    bundle = Detector.load(Store(f"file://{tmp_path}/a"))
    assert bundle.fingerprint == first.detector.fingerprint
    table = ds.dataset(str(embeddings)).to_table().sort_by("item_id")
    y = np.asarray(table["label"])
    units = [f"sha256:{digest}" for digest in table["content_sha256"].to_pylist()]
    part = split_units(y.tolist(), table["generator"].to_pylist(), units, 0)
    x = np.asarray(table["embedding"].to_pylist(), np.float32)
    for name, rows in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        mine = part == name
        assert mine.sum() == pytest.approx(rows * ROWS, abs=6)
        decision = bundle.score(x[mine]).decision
        assert bundle.metrics[name]["accuracy"] == pytest.approx(accuracy_score(y[mine], decision > 0))
        assert bundle.metrics[name]["auc"] == pytest.approx(roc_auc_score(y[mine], decision))
        assert 0.5 < bundle.baseline[name]["auc"] <= 1


@pytest.mark.slow
def test_two_workers_train_the_same_head(warm_ray, embeddings, tmp_path):
    """One epoch, loosely: Adam's first steps are as long for a tiny gradient as for a large one, so rounding shows.

    That the gradients themselves are equal is tested in tests/detector/test_parallel.py.
    """
    heads = [
        train(str(embeddings), str(tmp_path / str(n)), TrainOptions(HeadOptions(epochs=1), workers=n)) for n in (1, 2)
    ]
    one, two = (torch.tensor(trained.head.state["linear.weight"]) for trained in heads)
    assert torch.linalg.norm(one - two) <= 1e-2 * torch.linalg.norm(one)
    assert heads[0].head.history[0]["train_loss"] == pytest.approx(heads[1].head.history[0]["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_training_goes_on_where_it_was_cut_off(warm_ray, embeddings, tmp_path, monkeypatch):
    """A driver that dies after the head is trained leaves checkpoints; the next one does no epoch again."""
    options = TrainOptions(HeadOptions(epochs=2))
    with monkeypatch.context() as patch:
        patch.setattr("clipfake.engine.train.fit_svm", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(str(embeddings), str(tmp_path / "a"), options)
    assert not (tmp_path / "a" / "detector.json").exists()
    (left,) = (tmp_path / ".a.training").iterdir()
    assert left.name.startswith("head-")
    resumed = train(str(embeddings), str(tmp_path / "a"), options)
    assert not (tmp_path / ".a.training").exists()
    fresh = train(str(embeddings), str(tmp_path / "b"), options)
    assert resumed.detector.fingerprint == fresh.detector.fingerprint


def test_rows_come_sorted_and_what_cannot_be_trained_on_is_counted(embeddings):
    data = read_labelled(str(embeddings))
    assert data.item_id.tolist() == sorted(data.item_id)
    assert data.left_out == {"errors": 0, "unlabelled": 0}
    assert data.x.shape == (ROWS, 256)


@pytest.mark.parametrize(("labels", "says"), [([None] * ROWS, "no labelled"), ([1] * ROWS, "0 real and")])
def test_what_cannot_be_trained_on_is_refused(tmp_path, description, labels, says):
    folder = write_embeddings(tmp_path / "emb", description, np.asarray(labels, object))
    with pytest.raises(UsageError, match=says):
        train(str(folder), str(tmp_path / "out"), TrainOptions())
    assert not (tmp_path / "out").exists()


def test_an_output_that_holds_something_else_is_refused(embeddings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        train(str(embeddings), str(tmp_path / "out"), TrainOptions())
