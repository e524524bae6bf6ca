"""Evaluation: never a row that was trained on, one table however it is run, a failed cell as a row that says why."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.detector.unfamiliarity import fit_reference
from clipfake.encoder import describe
from clipfake.errors import UsageError
from clipfake.evaluation.evaluate import EvaluateOptions, evaluate
from clipfake.evaluation.protocols import ProtocolRows, grouped, matrix
from clipfake.evaluation.retraining import refit, refit_all
from clipfake.measures.split import PARTS
from clipfake.report.evaluation_files import evaluation_folder, save
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.training.crossed import fit_model
from clipfake.training.dataset import read_labelled
from clipfake.training.head import HeadOptions
from clipfake.training.models import RECIPES, part_of
from clipfake.training.options import TrainOptions

ROWS = 700
OPTIONS = TrainOptions(HeadOptions(epochs=1, out_dim=8), "head", C=0.5)
EVERY = ("own", "matrix", "leave-generator", "leave-family", "official")


def write_embeddings(folder: Path, seed: int = 3) -> str:
    """Reals of two sources, fakes of three generators, one of them with reals of its own and one with four fakes."""
    random = np.random.default_rng(seed)
    description = describe("ViT-S-32-alt/untrained")
    names = ["coco"] * 200 + ["lsun"] * 100 + ["stylegan2"] * 150 + ["stylegan3"] * 246 + ["glide"] * 4
    y = np.array([0] * 300 + [0] * 50 + [1] * 350)
    x = random.normal(size=(ROWS, description.dim)).astype(np.float32)
    x[:, :8] += 0.6 * y[:, None]
    status = ["ok"] * ROWS
    status[5] = status[301] = "corrupt"
    items = [f"file:///c/{i:04d}.jpg" for i in random.permutation(ROWS)]
    content = [f"{seed}{min(i // 2, 348):063d}" for i in range(ROWS)]  # pairs of duplicates; glide's four are one
    columns = {
        "item_id": items, "uri": items, "version": ["1"] * ROWS, "view": [0] * ROWS, "status": status, "label": y,
        "generator": names, "content_sha256": content,
        "split": ["train" if i % 3 else "test" for i in range(ROWS)], "embedding": list(x),
    }  # fmt: skip
    schema = embedding_schema(description.dim, "fp32")
    table = pa.table([pa.array(columns.get(f.name, [None] * ROWS), f.type) for f in schema], schema=schema)
    facts = {
        "encoder": description.fingerprint, "encoder_description": description.to_dict(), "precision": "fp32"
    }  # fmt: skip
    store = Store(f"file://{folder}")
    Ledger(store, "embeddings", schema, description.fingerprint, footer("embeddings", facts)).commit(
        "part.parquet", table
    )
    return str(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, detector):
    """(embeddings, detector): as `train` would have made it, without Ray."""
    folder = tmp_path_factory.mktemp("evaluate")
    embeddings = write_embeddings(folder / "emb")
    data = read_labelled(embeddings)
    part = data.parts("grouped", 0)
    parts = {name: part_of(data.take(part == name)) for name in PARTS}
    torch.manual_seed(0)
    rows = {name: np.flatnonzero(part == name) for name in PARTS}
    fitted = fit_model(data, rows, RECIPES["head"], OPTIONS, lambda text: None)
    learned, provenance = parts["train"], {"options": asdict(OPTIONS), "data_sha256": data.digest}
    reference = fit_reference(learned.x, learned.y, learned.generator.tolist(), parts["val"].x)
    bundle = replace(
        Detector.load(Store(f"file://{detector}")), head=fitted.model.head, classifier=fitted.model.classifier,
        calibrator=fitted.calibrator, thresholds=fitted.thresholds, reference=reference, provenance=provenance,
    )  # fmt: skip
    bundle.save(Store(f"file://{folder}/det"))
    return embeddings, f"{folder}/det"


@pytest.mark.slow
def test_all_protocols_agree_with_each_other_and_everything_is_written(warm_ray, trained, tmp_path):
    embeddings, place = trained
    out = tmp_path / "out"
    options = EvaluateOptions(EVERY, seeds=(0, 1))
    result = evaluate(embeddings, place, options, {"further": lambda _: {"mine": 1}})
    save(result, evaluation_folder(str(out)))
    assert json.loads((out / "evaluation.json").read_text()) == result
    assert list(result["protocols"]) == list(EVERY)
    assert result["further"] == {"mine": 1}
    cells = {(name, one["seed"], one["trained_on"], one["tested_on"]): one
             for name, section in result["protocols"].items() for one in section["cells"]}  # fmt: skip

    # The detector's recipe on all of its data, with its seed, is the detector.
    for generator in ("stylegan2", "stylegan3"):
        own, again = cells["own", 0, "the detector", generator], cells["matrix", 0, "(all)", generator]
        assert own["confusion"] == again["confusion"]
        assert own["auc"] == again["auc"]
    # Four fakes that are one picture are in one part of the split, training's, and that is said.
    failed = cells["matrix", 0, "glide", "stylegan2"]
    assert "0 fake items" in failed["error"]
    assert "auc" not in failed
    assert cells["leave-family", 0, "all but stylegan", "stylegan"]["error"]  # only glide's fakes are left to train on
    assert cells["official", 0, "the official training part", "(all)"]["n"] > 100
    assert result["families"] == {"glide": "glide", "stylegan2": "stylegan", "stylegan3": "stylegan"}
    spread = {(row["trained_on"], row["tested_on"]): row for row in result["protocols"]["matrix"]["seeds"]}
    both = [cells["matrix", seed, "stylegan2", "stylegan3"]["auc"] for seed in (0, 1)]
    assert spread["stylegan2", "stylegan3"]["auc"] == pytest.approx({"mean": np.mean(both), "sd": np.std(both, ddof=1)})

    lowest = min(one["balanced_accuracy"] for one in cells.values() if one.get("balanced_accuracy") is not None)
    assert result["worst"]["balanced_accuracy"] == lowest
    for name in EVERY:
        table = pq.read_table(out / f"{name}.parquet")
        assert table.num_rows == len(result["protocols"][name]["cells"])
        assert (out / f"{name}.csv").read_text().count("\n") == table.num_rows + 1
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {
        "own.png", "own-roc.png", "own-reliability.png", "matrix-auc.png", "matrix-balanced_accuracy.png",
        "leave-generator.png", "leave-family.png", "official.png",
    }  # fmt: skip


@pytest.mark.slow
def test_how_many_run_at_once_changes_nothing(warm_ray, trained):
    data = read_labelled(trained[0])
    names = data.generator
    items = ProtocolRows(data.y, names, data.parts("grouped", 0))
    folds = [(fold, OPTIONS) for fold in matrix(items, grouped(items.generators))]
    units = np.unique(data.unit, return_inverse=True)[1]
    together = refit_all(data, units, folds, None, lambda text: None)
    assert together == [refit(data, units, fold, recipe) for fold, recipe in folds]


def test_its_own_data_are_evaluated_on_the_test_part_only(trained):
    embeddings, place = trained
    result = evaluate(embeddings, place, EvaluateOptions())
    own = result["protocols"]["own"]
    assert "own split" in own["about"]
    data, bundle = read_labelled(embeddings), Detector.load(Store(f"file://{place}"))
    test = data.parts("grouped", 0) == "test"
    decision = bundle.score(data.x[test]).decision
    everything = own["cells"][0]
    assert everything["n"] == test.sum()
    assert everything["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(data.y[test], decision > 0))
    assert everything["auc"] == pytest.approx(roc_auc_score(data.y[test], decision))
    assert (everything["errors"], result["embeddings"]["errors"]) == (2, {"coco": 1, "stylegan2": 1})
    assert {row["source"] for row in own["real_sources"]} == {"coco", "lsun", "stylegan2"}
    assert any("UNTRAINED" in note for note in result["notes"])
    assert any("group_id" in note for note in result["notes"])


def test_of_other_data_all_rows_are_evaluated_and_what_is_known_to_be_trained_on_is_not(trained, tmp_path):
    _, place = trained
    other = evaluate(write_embeddings(tmp_path / "other", seed=4), place, EvaluateOptions())
    assert other["protocols"]["own"]["cells"][0]["n"] == ROWS - 2
    (note,) = [note for note in other["notes"] if "cannot say" in note]
    assert "MORE" not in note

    # The training data with one item less: by its digest other data, but its items lie on the reference points.
    mixed = tmp_path / "mixed"
    write_embeddings(mixed)
    table = pq.read_table(mixed / "part.parquet")
    pq.write_table(table.slice(1), mixed / "part.parquet")
    found = evaluate(str(mixed), place, EvaluateOptions())
    data = read_labelled(str(mixed))
    train = read_labelled(trained[0])
    learned = set(train.item_id[train.parts("grouped", 0) == "train"])  # all of them are reference points here
    assert found["protocols"]["own"]["cells"][0]["n"] == sum(one not in learned for one in data.item_id)
    assert any("MORE OF THESE ITEMS WERE SURELY TRAINED ON" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--protocol", "own,all"], "no protocol 'all'"),
        (["--seeds", "1,b"], "whole numbers"),
        (["--families", "nowhere.json"], "cannot be read"),
        (["--out", "."], "something else"),
    ],
)
def test_wrong_usage_is_said_in_a_line(trained, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    done = CliRunner().invoke(app, ["evaluate", trained[0], "--detector", trained[1], *arguments])
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)


def test_the_worst_cell_is_printed_first(trained):
    done = CliRunner().invoke(app, ["evaluate", trained[0], "--detector", trained[1]])
    assert done.exit_code == 0, done.output
    worst = evaluate(*trained, EvaluateOptions())["worst"]
    assert done.stdout.startswith(f"Worst: own, trained on the detector, tested on {worst['tested_on']}: balanced")
    json.loads(CliRunner().invoke(app, ["evaluate", trained[0], "--detector", trained[1], "--json"]).stdout)
