"""Embedding and scoring as a user runs them: one row an input, the same by every way, only what is new."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.detector.bundle import Detector
from clipfake.errors import ExitCode, UsageError
from clipfake.scoring.embed import embed
from clipfake.scoring.job import Outcome
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.scoring.score import score
from clipfake.status import Status
from clipfake.storage.footers import read_footer
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_process")]

ENCODER = "ViT-S-32-alt/untrained"
TOLERANCE = 1e-4


def run_score(source: Path, detector: Path, out: Path, **options) -> Outcome:
    job = JobOptions(**{k: v for k, v in options.items() if k in JobOptions.__dataclass_fields__})
    rest = {k: v for k, v in options.items() if k not in JobOptions.__dataclass_fields__}
    saves = rest.pop("save_embeddings", None)
    return score(str(source), str(detector), str(out), ScanOptions(job=job, **rest), lambda n: lambda k: None, saves)


def run_embed(source: Path, out: Path, **options) -> Outcome:
    return embed(str(source), ENCODER, str(out), ScanOptions(**options), lambda n: lambda k: None)


def decisions(out: Path) -> dict[str, float]:
    table = ds.dataset(str(out)).to_table(columns=["item_id", "decision"])
    assert len(set(table["item_id"].to_pylist())) == table.num_rows
    return dict(zip(table["item_id"].to_pylist(), table["decision"].to_pylist(), strict=True))


def assert_same(a: dict[str, float], b: dict[str, float]) -> None:
    assert a.keys() == b.keys()
    np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], atol=TOLERANCE, rtol=0)


@pytest.fixture
def corpus(pictures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "corpus"))


def damaged_png() -> bytes:
    """A PNG whose pixel data does not fit its checksum."""
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


BROKEN = {
    "empty.jpg": (lambda good: b"", Status.EMPTY),
    "text.jpg": (lambda good: b"only words", Status.UNSUPPORTED),
    "page.html": (lambda good: b"<html><body>hello</body></html>", Status.UNSUPPORTED),
    "vector.svg": (lambda good: b"<svg xmlns='http://www.w3.org/2000/svg'/>", Status.UNSUPPORTED),
    "paper.pdf": (lambda good: b"%PDF-1.7 ...", Status.UNSUPPORTED),
    "archive.zip": (lambda good: b"PK\x03\x04rest", Status.UNSUPPORTED),
    "half.jpg": (lambda good: good[: len(good) // 2], Status.TRUNCATED),
    "header.jpg": (lambda good: good[:20], Status.TRUNCATED),
    "damaged.png": (lambda good: damaged_png(), Status.CORRUPT),
    "noise.gif": (lambda good: b"GIF89a" + b"\x00" * 4, None),
    "noise.webp": (lambda good: b"RIFF\x10\x00\x00\x00WEBPVP8 garbage!", None),
    "huge.bmp": (lambda good: b"BM" + b"\x00" * 12 + (40).to_bytes(4, "little") + (200_000).to_bytes(4, "little") * 2
                 + b"\x01\x00\x18\x00" + b"\x00" * 24, Status.TOO_LARGE),
}  # fmt: skip


def test_a_crawl_with_broken_files_has_one_row_each(warm_ray, crawl, packed_detector, tmp_path):
    corpus = Path(shutil.copytree(crawl, tmp_path / "crawl"))
    good = next(corpus.rglob("*.jpg")).read_bytes()
    for name, (make, _) in BROKEN.items():
        (corpus / name).write_bytes(make(good))
    outcome = run_score(corpus, packed_detector, tmp_path / "out", max_error_rate=0.01, unit_rows=100)
    assert outcome.exit_code == 3
    assert outcome.totals.rows == 402
    assert outcome.totals.status["ok"] == 390

    table = ds.dataset(str(tmp_path / "out")).to_table()
    assert table.num_rows == len(set(table["item_id"].to_pylist())) == 402
    found = {row["uri"].rpartition("/")[2]: row for row in table.to_pylist() if row["status"] != "ok"}
    assert found.keys() == BROKEN.keys()
    for name, (_, status) in BROKEN.items():
        assert found[name]["status"] == (status or found[name]["status"]), name
        assert found[name]["status"] in ("empty", "unsupported", "corrupt", "truncated", "too_large")
        assert found[name]["error"]
        assert found[name]["decision"] is found[name]["verdict"] is found[name]["probability"] is None
        assert found[name]["unfamiliarity"] is None
    scored = table.filter(pc.equal(table["status"], "ok"))["unfamiliarity"].to_numpy()
    assert ((scored >= 0) & (scored <= 1)).all()
    # The detector was fitted on random vectors: photographs are as far from them as anything.
    assert outcome.record["unfamiliar"] == {
        "scored": 390,
        "0.95": int((scored > 0.95).sum()),
        "0.99": int((scored > 0.99).sum()),
    }

    # Whoever reads the folder sees these rows and no other file of ours.
    assert pd.read_parquet(tmp_path / "out").shape[0] == 402
    for pattern in ("*.parquet", "**/*.parquet"):
        query = f"SELECT count(*), count(DISTINCT item_id) FROM read_parquet('{tmp_path}/out/{pattern}')"
        assert duckdb.sql(query).fetchall() == [(402, 402)]
    assert pq.read_table(tmp_path / "out").schema.names == REPORT_SCHEMA.names
    record = json.loads(next((tmp_path / "out" / "_runs").glob("*.json")).read_text())
    assert record["rows"] == 402
    assert sum(record["status"].values()) == 402
    assert {"fetch", "decode", "encode", "detect"} <= record["seconds_by_stage"].keys()


def test_the_footer_names_what_scored(corpus, detector, tmp_path):
    run_score(corpus, detector, tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.parquet")
    facts = read_footer(pq.read_schema(file).metadata)
    bundle = Detector.load(Store(f"file://{detector}"))
    assert facts["kind"] == "report"
    assert (facts["detector"], facts["encoder"]) == (bundle.fingerprint, bundle.encoder_fingerprint)
    assert facts["precision"] == "fp32"
    assert [t["fpr"] for t in json.loads(facts["thresholds"])] == [t.fpr for t in bundle.thresholds]


def test_corpus_manifest_and_embeddings_give_the_same_decisions(corpus, detector, tmp_path):
    run_score(corpus, detector, tmp_path / "direct", batch_size=8)
    place = Store(f"file://{tmp_path}/manifest")
    write_manifest(f"file://{corpus}", "images", LayoutOptions(), place)
    run_score(tmp_path / "manifest", detector, tmp_path / "listed", unit_rows=7)
    assert_same(decisions(tmp_path / "direct"), decisions(tmp_path / "listed"))
    run_embed(tmp_path / "manifest", tmp_path / "emb")
    shutil.rmtree(corpus)  # no image is read again
    run_score(tmp_path / "emb", detector, tmp_path / "stored", unit_rows=9)
    assert_same(decisions(tmp_path / "direct"), decisions(tmp_path / "stored"))


def test_the_decision_is_open_clips_embedding_through_the_bundle(corpus, detector, tmp_path):
    import open_clip
    import torch

    run_score(corpus, detector, tmp_path / "out")
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-S-32-alt", pretrained=None)
    model.eval()
    bundle = Detector.load(Store(f"file://{detector}"))
    found = decisions(tmp_path / "out")
    for path in sorted(corpus.glob("*.jpg"))[:5]:
        with torch.inference_mode():
            vector = model.encode_image(transform(Image.open(path))[None], normalize=True).numpy()
        expected = bundle.score(vector).decision[0]
        assert found[f"file://{path}"] == pytest.approx(expected, abs=TOLERANCE)


def test_three_nights_read_only_what_is_new(crawl, detector, tmp_path):
    corpus, out = tmp_path / "crawl", tmp_path / "out"
    corpus.mkdir()
    for night, day in enumerate(("2026-11-01", "2026-11-02", "2026-11-03"), start=1):
        shutil.copytree(crawl / day, corpus / day)
        outcome = run_score(corpus, detector, out)
        assert outcome.totals.rows == outcome.counts.new == 130
        assert outcome.counts.listed == 130 * night
        assert outcome.counts.done == 130 * (night - 1)
        assert ds.dataset(str(out)).count_rows() == 130 * night
    again = run_score(corpus, detector, out)
    assert again.totals.rows == 0
    assert len(set(decisions(out))) == 390


def test_a_changed_file_is_scored_again_and_a_vanished_one_left_alone(corpus, detector, tmp_path):
    out = tmp_path / "out"
    run_score(corpus, detector, out)
    (corpus / "00.jpg").write_bytes((corpus / "01.jpg").read_bytes())
    (corpus / "02.jpg").unlink()
    outcome = run_score(corpus, detector, out)
    assert (outcome.counts.new, outcome.counts.changed, outcome.totals.rows) == (1, 1, 1)
    rows = ds.dataset(str(out)).to_table().to_pylist()
    assert len(rows) == 41
    first, second = sorted((r for r in rows if r["uri"].endswith("/00.jpg")), key=lambda r: r["scored_at"])
    other = next(r for r in rows if r["uri"].endswith("/01.jpg"))
    assert first["version"] != second["version"]
    assert second["content_sha256"] == other["content_sha256"]


def test_what_may_pass_is_tried_again_in_its_row(corpus, detector, tmp_path):
    place, out = Store(f"file://{tmp_path}/manifest"), tmp_path / "out"
    write_manifest(f"file://{corpus}", "images", LayoutOptions(), place)
    hidden = tmp_path / "hidden.jpg"
    shutil.copy2(corpus / "03.jpg", hidden)
    (corpus / "03.jpg").unlink()
    first = run_score(tmp_path / "manifest", detector, out)
    assert first.totals.status == {"ok": 39, "missing": 1}
    assert run_score(tmp_path / "manifest", detector, out).totals.status == {"missing": 1}
    shutil.copy2(hidden, corpus / "03.jpg")
    again = run_score(tmp_path / "manifest", detector, out)
    assert (again.counts.retried, again.totals.rows, again.totals.status["ok"]) == (1, 1, 1)
    assert ds.dataset(str(out)).to_table()["status"].to_pylist() == ["ok"] * 40
    assert len(list(out.glob("*.parquet"))) == 1


def test_embeddings_of_the_same_pass_serve_the_next_detector(corpus, detector, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept"
    run_score(corpus, detector, out, save_embeddings=str(kept))
    table = ds.dataset(str(kept)).to_table()
    assert table.num_rows == 40
    assert {"view", "status", "content_sha256", "embedding", "label"} <= set(table.schema.names)
    shutil.rmtree(corpus)
    run_score(kept, detector, tmp_path / "again")
    assert_same(decisions(out), decisions(tmp_path / "again"))


def test_dry_run_says_what_would_be_done_and_writes_nothing(corpus, detector, tmp_path):
    out = tmp_path / "out"
    said = run_score(corpus, detector, out, dry_run=True).record
    assert (said["listed"], said["new"], said["expected_seconds"]) == (40, 40, None)
    assert said["bytes_to_read"] == sum(path.stat().st_size for path in corpus.iterdir())
    assert not out.exists() or not list(out.iterdir())


def test_embed_is_incremental_too(corpus, tmp_path):
    out = tmp_path / "emb"
    assert run_embed(corpus, out).totals.rows == 40
    assert run_embed(corpus, out).totals.rows == 0
    with pytest.raises(UsageError, match="another encoder or precision"):
        run_embed(corpus, out, precision="bf16")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda t: (t / "nowhere", t / "det"), "nowhere"),
        (lambda t: (mkdir(t / "empty"), t / "det"), "empty"),
        (lambda t: (with_file(t / "texts", "a.txt", b"words"), t / "det"), "no image"),
        (lambda t: (t / "corpus", mkdir(t / "nodet")), "no detector"),
    ],
)
def test_unusable_input_is_one_line_and_nothing_is_written(corpus, detector, tmp_path, make, says):
    (tmp_path / "det").symlink_to(detector)
    source, bundle = make(tmp_path)
    with pytest.raises(UsageError, match=says) as caught:
        run_score(source, bundle, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_detector_of_another_encoder_is_refused(corpus, detector, tmp_path):
    bundle = Path(shutil.copytree(detector, tmp_path / "tampered"))
    changed = Detector.load(Store(f"file://{bundle}"))
    wrong = changed.__class__(**{**changed.__dict__, "test_card": -changed.test_card})
    wrong.save(Store(f"file://{bundle}"))
    with pytest.raises(UsageError, match="test card"):
        run_score(corpus, bundle, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.*"))


def test_a_manifest_is_not_listed_again(corpus, detector, tmp_path):
    write_manifest(f"file://{corpus}", "images", LayoutOptions(), Store(f"file://{tmp_path}/manifest"))
    with pytest.raises(UsageError, match="listed already"):
        run_score(tmp_path / "manifest", detector, tmp_path / "out", layout="artifact")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_with_something_else_is_refused(corpus, detector, tmp_path):
    out = with_file(tmp_path / "out", "thesis.docx", b"precious")
    with pytest.raises(UsageError, match=r"thesis\.docx"):
        run_score(corpus, detector, out)
    assert [path.name for path in out.iterdir()] == ["thesis.docx"]


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


def with_file(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir()
    (folder / name).write_bytes(data)
    return folder


def test_what_a_file_declares_and_its_group_come_along_and_never_score(corpus, detector, tmp_path):
    source = Image.open(sorted(corpus.rglob("*.jpg"))[0])
    text = PngInfo()
    text.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, Seed: 1")
    for name, told in (("silent.png", None), ("telling.png", text)):
        source.save(corpus / name, pnginfo=told)
    manifest = tmp_path / "manifest"
    write_manifest(f"file://{corpus}", "images", LayoutOptions(group_by=r"(\w+)\.png$"), Store(f"file://{manifest}"))
    run_score(manifest, detector, tmp_path / "direct", save_embeddings=str(tmp_path / "emb"), unit_rows=4)

    # Some of the embeddings are from before the columns.
    young = ["declared", "jpeg_quality", "jpeg_tables", "metadata"]
    first, *rest = sorted((tmp_path / "emb").glob("*.parquet"))
    assert rest
    pq.write_table(old := pq.read_table(first).drop_columns(young), first)
    run_score(tmp_path / "emb", detector, tmp_path / "again")

    rows = {name: {r["item_id"]: r for r in read_rows(tmp_path / name)} for name in ("direct", "again")}
    told = {path.rpartition("/")[2]: row for path, row in rows["direct"].items()}
    assert told["telling.png"]["declared"] == "parameters: Stable Diffusion web UI"
    assert (told["telling.png"]["group_id"], told["silent.png"]["group_id"]) == ("telling", "silent")
    assert told["telling.png"]["decision"] == pytest.approx(told["silent.png"]["decision"], abs=TOLERANCE)
    before = set(old["item_id"].to_pylist())
    for item, row in rows["again"].items():
        assert row["group_id"] == rows["direct"][item]["group_id"]
        assert row["declared"] == (None if item in before else rows["direct"][item]["declared"])

    # An old folder goes on with the columns, and none of its items is embedded again.
    source.save(corpus / "new.jpg", quality=83)
    outcome = run_embed(corpus, tmp_path / "emb")
    assert outcome.totals.rows == 1
    kept = ds.dataset(sorted(map(str, (tmp_path / "emb").glob("*.parquet")))[-1]).to_table().to_pylist()
    assert [(row["jpeg_quality"], row["metadata"], len(row["jpeg_tables"])) for row in kept] == [(83, "", 12)]


def read_rows(folder: Path) -> list[dict]:
    return ds.dataset(str(folder)).to_table().to_pylist()


def test_what_the_listing_skipped_is_recorded_and_counts_against_the_error_rate(pictures, detector, tmp_path):
    corpus, images = tmp_path / "corpus", sorted(pictures.glob("*.jpg"))[:4]
    corpus.mkdir()
    shard = corpus / "0.tar"
    with tarfile.open(shard, "w") as tar:
        for image in images:
            tar.add(image, image.name)
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(images[-1].read_bytes()) - tarfile.BLOCKSIZE])  # before the last image's header
    (corpus / "notes.txt").write_text("no shard")
    found = run_score(corpus, detector, tmp_path / "out", layout="webdataset")
    assert found.record["warnings"] == {"truncated_container": 1}
    assert found.record["skipped"] == {"file that is not a .tar": 1}
    assert found.record["status"] == {"ok": 3} and found.exit_code == ExitCode.TOO_MANY_ERRORS
    lenient = run_score(corpus, detector, tmp_path / "out", layout="webdataset", max_error_rate=0.5)
    assert lenient.exit_code == ExitCode.DONE and lenient.totals.rows == 0
