"""One precision for all nodes of a run; "auto" follows the nodes, or the embeddings that are there already."""

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from clipfake.encoder.precision import Machine, fastest, this_machine
from clipfake.errors import UsageError
from clipfake.onray.nodes import Node
from clipfake.scoring import run_precision as engine
from clipfake.scoring.embed import embed, embedding_decoder, embedding_precision
from clipfake.scoring.executor import InProcess
from clipfake.scoring.options import EmbedOptions, ScanOptions
from clipfake.scoring.run_precision import chosen_decoder, chosen_precision
from clipfake.scoring.score import score
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.store import Store

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


def footers(place: Path) -> list[tuple[str, str]]:
    """Precision and encoder of each file."""
    found = [read_footer(pq.read_schema(file).metadata) for file in sorted(place.glob("*.parquet"))]
    return [(one["precision"], one["encoder"]) for one in found]


@pytest.mark.parametrize(("machine", "visible", "expected"), HERE)
def test_this_machine_where_no_cluster_is_named(machine, visible, expected, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(engine, "this_machine", lambda: machine)
    monkeypatch.setattr(engine, "at_hand", lambda: False)
    assert chosen_precision("auto") == expected
    assert chosen_precision("fp16") == "fp16"


def test_work_in_this_process_is_on_its_cores_whatever_gpu_there_is(monkeypatch):
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(False, ((8, 0),)))
    assert chosen_precision("auto", InProcess(1)) == "fp32"


GPU, NO_GPU = ((8, 0),), ()


@pytest.mark.parametrize(
    ("gpus", "built", "hidden", "expected"),
    [
        (GPU, True, None, "gpu-1"),
        (GPU, False, None, "fast-2"),  # without nvJPEG
        (GPU, True, "", "fast-2"),
        (NO_GPU, True, None, "fast-2"),
    ],
)
def test_the_decoder_is_the_gpus_where_they_encode_and_can(gpus, built, hidden, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(True, gpus))
    monkeypatch.setattr("clipfake.images.device_decoder.built_for_gpus", lambda: built)
    monkeypatch.setattr(engine, "at_hand", lambda: False)
    assert chosen_decoder("auto") == expected
    assert chosen_decoder("auto", InProcess(1)) == "fast-2"
    assert chosen_decoder("exact") == "exact"


@pytest.mark.parametrize(
    ("nodes", "answers", "expected"),
    [
        ([Node(16, 1)], [True], "gpu-1"),
        ([Node(16, 1), Node(64)], [True], "gpu-1"),  # the second one only reads and checks
        ([Node(16, 7), Node(16, 7)], [True, False], "fast-2"),
        ([Node(16)], [True], "fast-2"),
    ],
)
def test_of_a_cluster_the_nodes_that_will_encode_are_asked(nodes, answers, expected, monkeypatch):
    monkeypatch.setattr(engine, "at_hand", lambda: True)
    monkeypatch.setattr(engine, "connected", nullcontext)
    monkeypatch.setattr(engine, "cluster_nodes", lambda: nodes)
    monkeypatch.setattr(engine, "ask_nodes", lambda able, _: answers[: len(able)])
    assert chosen_decoder("auto") == expected


@pytest.mark.slow
def test_the_nodes_of_a_cluster_are_asked(warm_ray, monkeypatch):
    assert chosen_precision("auto") == fastest([this_machine()], "cpu")
    driver = os.getpid()
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(os.getpid() != driver))
    assert chosen_precision("auto") == "bf16"
    monkeypatch.setattr(engine, "this_machine", lambda: Machine(os.getpid() == driver))
    assert chosen_precision("auto") == "fp32"


def test_auto_goes_on_with_the_decoder_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.embed.chosen_decoder", lambda decoder, session: f"settled {decoder}")
    store, here = Store(f"file://{tmp_path}"), InProcess(1)
    assert embedding_decoder(store, "auto", here) == "settled auto"
    made = footer("embeddings", {"encoder": "e", "encoder_description": {"decoder": "exact"}})
    pq.write_table(pa.table({"view": [0]}).replace_schema_metadata(made), tmp_path / "0.parquet")
    assert embedding_decoder(store, "auto", here) == "exact"
    assert embedding_decoder(store, "fast", here) == "settled fast"


def test_auto_goes_on_with_the_precision_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.embed.chosen_precision", lambda precision, session: f"settled {precision}")
    store = Store(f"file://{tmp_path}")
    assert embedding_precision(store, None) == "settled fp32"
    assert embedding_precision(store, "auto") == "settled auto"
    made = footer("embeddings", {"encoder": "e", "precision": "bf16"})
    pq.write_table(pa.table({"view": [0]}).replace_schema_metadata(made), tmp_path / "0.parquet")
    assert embedding_precision(store, "auto") == "bf16"
    assert embedding_precision(store, "fp16") == "settled fp16"


@pytest.mark.slow
def test_embed_and_score_with_auto_and_a_fast_decoder(in_process, pictures, detector, tmp_path):
    """Recorded as what it came to; score obeys the detector's decoder."""
    from clipfake.detector.bundle import Detector
    from clipfake.encoder import describe, load

    corpus, emb, fast = tmp_path / "corpus", tmp_path / "emb", EmbedOptions(decoder="fast")
    corpus.mkdir()
    for picture in sorted(pictures.iterdir())[:4]:
        shutil.copy(picture, corpus)
    expected = chosen_precision("auto")
    done = embed(str(corpus), ENCODER, str(emb), ScanOptions(precision="auto"), progress, fast)
    assert done.totals.status == {"ok": 4}
    description = describe(ENCODER, decoder="fast")
    assert done.record["options"]["precision"] == expected
    assert footers(emb) == [(expected, description.fingerprint)]
    with pytest.raises(UsageError, match="another encoder or precision"):
        embed(str(corpus), ENCODER, str(emb), ScanOptions(precision="auto"), progress)  # exact

    card = load(description).test_card_embedding()
    changed = {"encoder": description.to_dict(), "encoder_fingerprint": description.fingerprint, "test_card": card}
    trained = replace(Detector.load(Store(f"file://{detector}")), **changed)
    trained.save(Store(f"file://{tmp_path}/detector"))
    scored = score(str(corpus), f"{tmp_path}/detector", f"{tmp_path}/out", ScanOptions(precision="auto"), progress)
    assert scored.record["options"]["precision"] == expected
    assert footers(tmp_path / "out") == [(expected, description.fingerprint)]
    stored, rows = (ds.dataset(str(tmp_path / name)).to_table().sort_by("item_id") for name in ("emb", "out"))
    vectors = np.stack(stored["embedding"].to_numpy())
    np.testing.assert_allclose(rows["decision"].to_numpy(), trained.score(vectors).decision, atol=1e-4, rtol=0)
