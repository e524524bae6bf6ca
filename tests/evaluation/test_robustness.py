"""The pass under all conditions and the attack: their decisions are those of scoring such pictures one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from clipfake.corpus.layouts import LayoutOptions
from clipfake.detector.bundle import Detector
from clipfake.detector.classifiers.linear import Linear
from clipfake.encoder import load
from clipfake.errors import UsageError
from clipfake.evaluation import attack as module
from clipfake.evaluation.attack import _sample, adversarial
from clipfake.evaluation.pgd import PgdOptions, attack, decide, transferred
from clipfake.evaluation.robustness import RobustnessOptions, robustness
from clipfake.evaluation.robustness_tables import operating_row, sweep
from clipfake.evaluation.stored_images import images_of
from clipfake.images.conditions.conditions import choose
from clipfake.images.preprocess import preprocess
from clipfake.scoring import executor
from clipfake.scoring.embed import embed
from clipfake.scoring.options import ScanOptions
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Store
from clipfake.training.dataset import read_labelled

ENCODER = "ViT-S-32-alt/untrained"
NAMES = ("jpeg-50", "noise-13", "chain-2")


def quiet(total: int) -> Callable[[int], None]:
    return lambda done: None


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same without dicts in dicts, which pytest.approx does not take."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_sweep_and_the_attack_score_what_they_say_they_score(warm_ray, pictures, detector, tmp_path, monkeypatch):
    corpus, emb = tmp_path / "corpus", str(tmp_path / "emb")
    corpus.mkdir()
    for i in range(8):
        (corpus / f"{i}.jpg").write_bytes((pictures / f"{i:02d}.jpg").read_bytes())
    (corpus / "list.csv").write_text("path,label\n" + "".join(f"{i}.jpg,{i % 2}\n" for i in range(8)))
    with monkeypatch.context() as patch:  # the first sweep is enough for Ray to do
        patch.setattr(executor, "at_hand", lambda: False)
        embed(f"{corpus}/list.csv", ENCODER, emb, ScanOptions("csv", LayoutOptions()), quiet)
    data = read_labelled(emb)
    items = data.item_id[:7].tolist()  # one is not asked for
    (corpus / "3.jpg").unlink()
    (corpus / "5.jpg").write_bytes((pictures / "09.jpg").read_bytes())  # another picture than was listed

    found = robustness(emb, str(detector), items, str(tmp_path / "out"), RobustnessOptions(NAMES), quiet)
    assert found["left_out"] == {"missing": 1, "unreadable": 1}
    assert found["items"] == 5

    encoder, scorer = load(ENCODER), Detector.load(Store(f"file://{detector}"))
    here = [i for i in range(7) if i not in (3, 5)]
    y = np.array([i % 2 for i in here])
    images = [Image.open(corpus / f"{i}.jpg").convert("RGB") for i in here]
    hashes = dict(zip(data.item_id, data.unit, strict=True))
    digests = [hashes[f"file://{corpus}/{i}.jpg"].removeprefix("sha256:") for i in here]
    decision = np.empty((5, 4))
    for column, one in enumerate([None, *choose(NAMES)]):
        views = [one.apply(image, digest) if one else image for image, digest in zip(images, digests, strict=True)]
        pixels = np.stack([preprocess(view, encoder.description.preprocess) for view in views])
        decision[:, column] = scorer.score(encoder.encode(pixels)).decision
    for row, expected in zip(
        found["conditions"], sweep(y, decision, np.array(digests), choose(NAMES), scorer.thresholds), strict=True
    ):
        assert flat(row) == pytest.approx(flat(expected))

    folder = Path(found["views"].removeprefix("file://"))
    files = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    facts = read_footer(pq.read_schema(folder / min(files)).metadata)
    assert facts["conditions"] == '["jpeg-50", "noise-13", "chain-2"]'
    assert ds.dataset(str(folder)).count_rows() == 7 * 4
    (corpus / "3.jpg").write_bytes((pictures / "03.jpg").read_bytes())  # it is back, but not as it was listed
    monkeypatch.setattr(executor, "at_hand", lambda: False)
    again = robustness(emb, str(detector), items, str(tmp_path / "out"), RobustnessOptions(NAMES), quiet)
    assert again["conditions"] == found["conditions"]
    other = robustness(emb, str(detector), items[:5], str(tmp_path / "out"), RobustnessOptions(("crop-0.8",)), quiet)
    assert other["views"] != found["views"]
    assert other["conditions"][0]["n"] == 4

    options, stranger = PgdOptions((2,), steps=2), Linear(torch.linspace(-1, 1, encoder.description.dim).double(), 0.0)
    monkeypatch.setattr(module, "surrogate", lambda *given: (stranger, {"rule": "linear"}))
    struck = adversarial(emb, str(detector), items, 6, options, quiet, transfer=True)
    assert (struck["items"], struck["unreadable"], struck["epsilons"]) == (4, 2, (2,))
    chosen = images_of(emb, items).rows
    rows = [i for i in _sample(chosen["item_id"].to_pylist(), chosen["label"].to_numpy(), 6, 0) if i not in (3, 5)]
    names = [f"file://{corpus}/{i}.jpg" for i in rows]
    pixels = np.stack(
        [preprocess(Image.open(corpus / f"{i}.jpg").convert("RGB"), encoder.description.preprocess) for i in rows]
    )

    def score(these: np.ndarray) -> np.ndarray:
        return scorer.score(encoder.encode(these)).decision

    expected, _ = attack(decide(encoder, scorer), score, pixels, np.array(rows) % 2, names, options)
    through = transferred(decide(encoder, stranger), score, pixels, np.array(rows) % 2, names, options)
    theirs = stranger.decision(torch.from_numpy(encoder.encode(pixels))).numpy()
    assert struck["transfer"]["surrogate"] == {"rule": "linear", "auc": roc_auc_score(np.array(rows) % 2, theirs)}
    for table, decisions in (
        (struck["by_epsilon"], expected),
        (struck["transfer"]["by_epsilon"], np.concatenate([expected[:, :1], through], axis=1)),
    ):
        for row, mine in zip(table, decisions.T, strict=True):
            left = operating_row(np.array(rows) % 2, mine, np.arange(len(rows)), scorer.thresholds)
            assert flat({key: row[key] for key in left}) == pytest.approx(flat(left))
            assert row["auc"] == roc_auc_score(np.array(rows) % 2, mine)


def test_options_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="no condition 'fog-1'"):
        RobustnessOptions(("fog-1",))
    with pytest.raises(UsageError, match="--enlarger nowhere:model cannot be used"):
        RobustnessOptions(("enlarge",), "nowhere:model")
