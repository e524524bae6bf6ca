"""Training: the same detector from the same data and seed, figures that anyone can recompute, clear refusals."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from stored_rows import ROWS, TEXT, write_embeddings

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Temperature
from clipfake.encoder import describe
from clipfake.errors import UsageError
from clipfake.measures.split import SPLITS, split_units
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score
from clipfake.storage.store import Store
from clipfake.training.dataset import read_labelled
from clipfake.training.head import HeadOptions, fit_head
from clipfake.training.models import RECIPES
from clipfake.training.presets import PRESETS
from clipfake.training.train import Trained, TrainOptions, _notes, train

ENCODER = "ViT-S-32-alt/untrained"


@pytest.fixture(scope="module")
def description():
    return describe(ENCODER)


@pytest.fixture
def embeddings(tmp_path: Path, description) -> Path:
    return write_embeddings(tmp_path / "emb", description)


OPTIONS = TrainOptions(HeadOptions(epochs=3), "head")


@pytest.fixture(scope="module")
def trained(warm_ray, tmp_path_factory, description) -> tuple[Path, Trained]:
    """A folder with `emb` and `a`, the detector that a worker of Ray Train trained on it by OPTIONS."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(str(write_embeddings(folder / "emb", description)), str(folder / "a"), OPTIONS)


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head is trained by what each worker of Ray Train runs, without Ray Train, whose start takes a minute."""
    monkeypatch.setattr(
        "clipfake.training.train.train_head", lambda train, val, options, *_: fit_head(train, val, options)
    )


@pytest.mark.slow
def test_one_seed_one_detector_and_metrics_that_can_be_recomputed(trained, tmp_path, monkeypatch):
    folder, first = trained
    embeddings = folder / "emb"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "emb"]  # no checkpoints left
    in_this_process(monkeypatch)
    second = train(str(embeddings), str(tmp_path / "b"), OPTIONS)
    another = TrainOptions(HeadOptions(epochs=3, seed=1), "head", search=True, calibration="temperature")
    other = train(str(embeddings), str(tmp_path / "c"), another)
    assert first.detector.fingerprint == second.detector.fingerprint != other.detector.fingerprint

    # Independently: the stored rows, the split, the bundle as loaded, scikit-learn's metrics.
    bundle = Detector.load(Store(f"file://{folder}/a"))
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
        if name == "val":  # of models that have not seen it: the bundle, which has, would do better
            assert 0.6 < bundle.metrics[name]["auc"] < roc_auc_score(y[mine], decision)
            apart = [np.median(decision[y[mine] == label]) for label in (0, 1)]
            low, high = (bundle.metrics["val_quantiles"][kind][50] for kind in ("real", "fake"))
            assert apart[0] < low < high < apart[1]
        else:
            assert bundle.metrics[name]["accuracy"] == pytest.approx(accuracy_score(y[mine], decision > 0))
            assert bundle.metrics[name]["auc"] == pytest.approx(roc_auc_score(y[mine], decision))
        assert 0.5 < bundle.baseline[name]["auc"] <= 1
        # Training items lie on or near the reference points, validation items as far as validation items do.
        nearer = {"train": (0, 0.05), "val": (0.48, 0.52), "test": (0.4, 0.6)}[name]
        assert nearer[0] <= bundle.score(x[mine]).unfamiliarity.mean() <= nearer[1]
    searched = other.detector.provenance["svm"]
    assert searched["search"]["C"] == searched["C"]
    assert searched["search"]["gamma"] == other.detector.classifier.gamma
    assert isinstance(other.detector.calibrator, Temperature)


@pytest.mark.slow
def test_two_workers_train_the_same_head(warm_ray, embeddings, tmp_path, monkeypatch):
    """One epoch, loosely: Adam's first steps are as long for a tiny gradient as for a large one, so rounding shows.

    That the gradients themselves are equal is tested in tests/detector/heads/test_shared_triplet_loss.py.
    """
    options = TrainOptions(HeadOptions(epochs=1), "head", workers=2)
    heads = [train(str(embeddings), str(tmp_path / "two"), options)]
    in_this_process(monkeypatch)
    heads.append(train(str(embeddings), str(tmp_path / "one"), options))
    two, one = (torch.tensor(trained.head.state["linear.weight"]) for trained in heads)
    assert torch.linalg.norm(one - two) <= 1e-2 * torch.linalg.norm(one)
    assert heads[0].head.history[0]["train_loss"] == pytest.approx(heads[1].head.history[0]["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_training_goes_on_where_it_was_cut_off(trained, embeddings, tmp_path, monkeypatch):
    """A driver that dies after the head is trained leaves checkpoints; the next one does no epoch again."""
    with monkeypatch.context() as patch:
        patch.setattr("clipfake.training.models.fit_svm", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(str(embeddings), str(tmp_path / "a"), OPTIONS)
    assert not (tmp_path / "a" / "detector.json").exists()
    (left,) = (tmp_path / ".a.training").iterdir()
    assert left.name.startswith("head-")
    resumed = train(str(embeddings), str(tmp_path / "a"), OPTIONS)
    assert not (tmp_path / ".a.training").exists()
    _, fresh = trained
    assert resumed.detector.fingerprint == fresh.detector.fingerprint


def test_a_model_without_a_head_is_chosen_trained_and_scores_as_stated(embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr("clipfake.training.selection.RECIPES", {"linear": RECIPES["linear"]})
    trained = train(str(embeddings), str(tmp_path / "det"), TrainOptions())
    bundle = Detector.load(Store(f"file://{tmp_path}/det"))
    assert (bundle.head, bundle.schema_version, bundle.provenance["model"]) == (None, 3, "linear")
    assert [row["model"] for row in bundle.provenance["candidates"]] == ["linear"]
    assert [threshold.fpr for threshold in bundle.thresholds] == [0.05, 0.01]
    data = read_labelled(str(embeddings))
    test = data.parts("grouped", 0) == "test"
    decision = bundle.score(data.x[test]).decision
    assert bundle.metrics["test"]["auc"] == pytest.approx(roc_auc_score(data.y[test], decision))
    assert trained.detector.fingerprint == bundle.fingerprint
    assert sum(file.stat().st_size for file in (tmp_path / "det").iterdir()) < 5_000_000


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


def test_isotonic_with_too_few_is_refused_before_anything_is_trained(embeddings, tmp_path):
    with pytest.raises(UsageError, match="isotonic calibration needs 1000"):
        train(str(embeddings), str(tmp_path / "out"), TrainOptions(calibration="isotonic"))
    with pytest.raises(UsageError, match="choose one of sigmoid"):
        TrainOptions(calibration="platt")


def test_an_output_that_holds_something_else_is_refused(embeddings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        train(str(embeddings), str(tmp_path / "out"), TrainOptions())


def test_recommended_is_what_the_options_are_without_a_preset():
    assert TrainOptions.of_preset("recommended") == TrainOptions()


def test_options_replace_a_presets_values_and_are_named():
    options = TrainOptions.of_preset("source", margin=0.3, epochs=None, miner="random", seed=7, fusion="sum")
    assert (options.head.margin, options.head.epochs, options.head.seed) == (0.3, PRESETS["source"].values["epochs"], 7)
    assert (options.preset, options.overridden, options.split) == ("source", ("margin",), "source-text")
    assert TrainOptions.of_preset("source").split == "source"
    (note, split) = _notes(options)
    inferred, otherwise = note.split("; set otherwise: ")
    assert otherwise == "margin 0.3"
    assert "miner random" in inferred
    assert "margin" not in inferred
    assert "out_dim" not in inferred  # stated
    assert "stratified by label only" in split
    assert _notes(TrainOptions()) == ["preset recommended"]


@pytest.mark.parametrize(
    "wrong", [{"name": "best"}, {"name": "source", "fusion": "mean"}, {"name": "source", "split": "half"}]
)
def test_unknown_presets_fusions_and_splits_are_refused(wrong):
    with pytest.raises(UsageError, match="choose one of"):
        TrainOptions.of_preset(**wrong)


@pytest.mark.parametrize("split", SPLITS)
def test_only_train_takes_views_and_an_item_keeps_its_part(tmp_path, description, split):
    folder = str(write_embeddings(tmp_path / "emb", description, views=2))
    plain, all_views = read_labelled(folder), read_labelled(folder, views=True)
    assert (len(plain.y), len(all_views.y)) == (ROWS, 3 * ROWS)
    part, parts = plain.parts(split, 0), all_views.parts(split, 0)
    assert parts[all_views.view == 0].tolist() == part.tolist()
    train = part == "train"
    assert (parts == "train").sum() == 3 * train.sum()
    assert set(all_views.item_id[parts == "train"]) == set(plain.item_id[train])
    assert set(parts[all_views.view > 0]) == {"train", ""}


@pytest.mark.slow
def test_image_and_text_are_trained_and_scored_together(warm_ray, tmp_path, description):
    folder = write_embeddings(tmp_path / "emb", description, text=True)
    options = TrainOptions.of_preset("source", fusion="product", epochs=2)
    trained = train(str(folder), str(tmp_path / "det"), options)
    assert trained.detector.text == TEXT
    assert trained.detector.provenance["left_out"]["without_text"] == 3
    assert trained.tables["test"]["text"]["auc"] < 0.6  # it says nothing of the label here
    assert not any("gives it away" in note for note in trained.notes)
    assert Detector.load(Store(f"file://{tmp_path}/det")).provenance["notes"] == trained.notes

    data = read_labelled(str(folder), text=True)
    test = data.parts("source-text", 0) == "test"
    decision = trained.detector.score(data.x[test], data.text[test]).decision
    assert accuracy_score(data.y[test], decision > 0) == trained.detector.metrics["test"]["accuracy"]

    # As a job: the same decisions; images alone only when asked to; other text refused.
    report = tmp_path / "report"
    scan = plain = ScanOptions()
    score(str(folder), str(tmp_path / "det"), str(report), scan, lambda n: lambda k: None)
    rows = ds.dataset(str(report)).to_table().sort_by("item_id")
    assert Counter(rows["status"].to_pylist()) == {"ok": ROWS - 3, "no_text": 3}
    scored = rows.filter(ds.field("status") == "ok")
    np.testing.assert_allclose(scored["decision"].to_numpy()[test], decision, atol=1e-4)
    alone = score(
        str(folder), str(tmp_path / "det"), str(report), replace(scan, image_only=True), lambda n: lambda k: None
    )
    assert alone.record["options"]["image_only"]
    assert len(set(ds.dataset(str(report)).to_table()["detector"].to_pylist())) == 2
    without = write_embeddings(tmp_path / "without", description)
    with pytest.raises(UsageError, match="there is none here"):
        score(str(without), str(tmp_path / "det"), str(tmp_path / "none"), plain, lambda n: lambda k: None)
    assert not (tmp_path / "none").exists()


def test_text_that_is_missing_is_refused(tmp_path, description):
    options = TrainOptions.of_preset("source", fusion="sum")
    with pytest.raises(UsageError, match="no text embeddings"):
        train(str(write_embeddings(tmp_path / "emb", description)), str(tmp_path / "out"), options)
    assert not (tmp_path / "out").exists()


def test_an_official_split_is_taken_as_it_is_or_refused(tmp_path, description):
    data = read_labelled(str(write_embeddings(tmp_path, description, views=1)), views=True)
    names = np.where(np.arange(len(data.y)) // 2 % 5 < 4, "Train", "test").astype(object)
    part = replace(data, facts={"split": names}).parts("official", 0)
    own = data.view == 0
    assert np.array_equal(part == "test", (names == "test") & own)
    assert set(part[names == "Train"]) == {"train", "val", ""} and set(part[(part == "") & own]) == set()
    with pytest.raises(UsageError, match="--split official: the items are not parted"):
        replace(data, facts={"split": np.full(len(data.y), None, object)}).parts("official", 0)
