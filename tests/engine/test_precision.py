"""One precision for all nodes of a run; "auto" follows the nodes, or the embeddings that are there already."""

import os
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from clipfake.encoder.precision import Machine, fastest, this_machine
from clipfake.engine import precision as engine
from clipfake.engine.embedding import EmbedOptions
from clipfake.engine.precision import settled
from clipfake.engine.scan import ScanOptions, embed, score
from clipfake.errors import UsageError
from clipfake.report.schema import read_footer

ENCODER = "ViT-S-32-alt/untrained"
HERE = [
    (Machine(True), "", "bf16"),
    (Machine(False), "", "fp32"),
    (Machine(False, ((8, 0),)), None, "bf16"),
    (Machine(True, ((7, 0),)), None, "fp32"),
    (Machine(False, ((8, 0),)), "", "fp32"),
    (Machine(True, ((7, 0),)), "-1", "bf16"),
]


def progress(items: int):
    return lambda done: None


def footers(place: Path) -> list[dict[str, str]]:
    return [read_footer(pq.read_schema(file).metadata) for file in sorted(place.glob("*.parquet"))]


@pytest.mark.parametrize(("machine", "visible", "expected"), HERE)
def test_this_machine_where_no_cluster_is_named(machine, visible, expected, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(engine, "this_machine", lambda: machine)
    monkeypatch.setattr(engine.sys, "modules", {})
    assert settled("auto") == expected
    assert settled("fp16") == "fp16"


@pytest.mark.slow
def test_the_nodes_of_a_cluster_are_asked(warm_ray, monkeypatch):
    assert settled("auto") == fastest([this_machine()], "cpu")
    driver = os.getpid()
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(os.getpid() != driver))
    assert settled("auto") == "bf16"
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(os.getpid() == driver))
    assert settled("auto") == "fp32"


@pytest.mark.slow
def test_embed_and_score_with_auto_and_a_fast_decoder(warm_ray, pictures, detector, tmp_path):
    """Recorded as what it came to; a folder goes on with what it has; score obeys the detector's decoder."""
    from dataclasses import replace

    from clipfake.corpus.store import Store
    from clipfake.detector.bundle import Detector
    from clipfake.encoder.encoder import Encoder, describe

    corpus = Path(shutil.copytree(pictures, tmp_path / "corpus"))
    for extra in sorted(corpus.iterdir())[8:]:
        extra.unlink()
    expected, emb, fast = settled("auto"), tmp_path / "emb", EmbedOptions(decoder="fast")
    done = embed(str(corpus), ENCODER, str(emb), ScanOptions(precision="auto"), progress, fast)
    assert done.totals.status == {"ok": 8}
    assert done.record["options"]["precision"] == expected == footers(emb)[0]["precision"]
    description = describe(ENCODER, decoder="fast")
    assert {footer["encoder"] for footer in footers(emb)} == {description.fingerprint}
    with pytest.raises(UsageError, match="another encoder or precision"):
        embed(str(corpus), ENCODER, str(emb), ScanOptions(precision="auto"), progress)  # exact

    other = tmp_path / "other"  # made in what auto would not choose here
    first = {"bf16": "fp32", "fp32": "bf16"}[expected]
    embed(str(corpus), ENCODER, str(other), ScanOptions(precision=first), progress, fast)
    shutil.copy(next(corpus.iterdir()), corpus / "new.jpg")
    again = embed(str(corpus), ENCODER, str(other), ScanOptions(precision="auto"), progress, fast)
    assert again.totals.rows == 1 and again.record["options"]["precision"] == first

    trained = Detector.load(Store(f"file://{detector}"))
    card = Encoder.load(description).test_card_embedding()
    changed = {"encoder": description.to_dict(), "encoder_fingerprint": description.fingerprint, "test_card": card}
    replace(trained, **changed).save(Store(f"file://{tmp_path}/detector"))
    for source, out in ((corpus, "images"), (emb, "vectors")):
        outcome = score(
            str(source), f"{tmp_path}/detector", f"{tmp_path}/{out}", ScanOptions(precision="auto"), progress
        )
        assert outcome.record["options"]["precision"] == expected
        assert {(f["precision"], f["encoder"]) for f in footers(tmp_path / out)} == {
            (expected, description.fingerprint)
        }
    rows = [
        {row["item_id"]: row["decision"] for row in ds.dataset(str(tmp_path / out)).to_table().to_pylist()}
        for out in ("images", "vectors")
    ]
    assert len(rows[1]) == 8
    assert all(abs(rows[0][item] - decision) < 1e-4 for item, decision in rows[1].items())
