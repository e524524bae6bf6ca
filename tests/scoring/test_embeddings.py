"""What `embed` computes: rows of views, texts and features as open_clip has them, each once, whatever is killed."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from chaos import DRIVER, Kill, Run
from PIL import Image

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.images.conditions.augmentation import chain
from clipfake.scoring import executor
from clipfake.scoring.commit import Sink
from clipfake.scoring.embed import embed
from clipfake.scoring.embeddings import embedding_rows
from clipfake.scoring.job import Outcome
from clipfake.scoring.options import EmbedOptions, ScanOptions
from clipfake.scoring.plan import Planner
from clipfake.scoring.score import score
from clipfake.scoring.unit_chunks import VIEWS
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import ENCODING, FACTS, embedding_schema
from clipfake.storage.store import Store
from clipfake.storage.units import Unit

ENCODER = "ViT-S-32-alt/untrained"
DIM = 3


def ledger_of(tmp_path: Path, **made: object) -> Ledger:
    facts = {"encoder": "e", "precision": "fp32", **made}
    return Ledger(
        Store(f"file://{tmp_path}/emb"), "embeddings", embedding_schema(DIM, "fp32"), "e", footer("embeddings", facts)
    )


def pipeline_rows(listing: pa.Table, views: int, failed: tuple[int, ...] = ()) -> pa.Table:
    """What the actors give back: item i has i in its own vector, and i + v / 10 in that of view v."""
    n = listing.num_rows
    values = np.arange(n, dtype=np.float32)[:, None] + np.arange(1 + views, dtype=np.float32) / 10
    vectors = np.repeat(values[..., None], DIM, axis=2)
    there = [i not in failed for i in range(n)]
    columns = {
        "status": ["ok" if ok else "missing" for ok in there],
        **{field.name: pa.nulls(n, field.type) for field in (*FACTS[1:], *ENCODING)},
        "embedding": [v[0].tolist() if ok else None for v, ok in zip(vectors, there, strict=True)],
        VIEWS: [v[1:].ravel().tolist() if ok else None for v, ok in zip(vectors, there, strict=True)],
        "rewrites": pa.nulls(n, pa.string()),
    }
    kinds = {"embedding": pa.list_(pa.float32(), DIM), VIEWS: pa.list_(pa.float32(), DIM * views)}
    for name, column in columns.items():
        listing = listing.append_column(name, pa.array(column, kinds.get(name)))
    return listing if views else listing.drop_columns([VIEWS])


@pytest.mark.parametrize("views", [0, 1, 3])
def test_an_item_has_a_row_for_each_view_in_order(items, views):
    rows = pipeline_rows(items(["a", "b", "c"]), views, failed=(1,))
    pieces = pa.concat_tables([rows.slice(0, 2), rows.slice(2)])
    table = embedding_rows(pieces, schema=embedding_schema(DIM, "fp32"), views=views)
    expected = [
        (name, view, None if name == "b" else [np.float32(i) + np.float32(view) / np.float32(10)] * DIM)
        for i, name in enumerate("abc")
        for view in range(1 + views)
    ]
    found = [(row["item_id"][-1], row["view"], row["embedding"]) for row in table.to_pylist()]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for (*_, one), (*_, other) in zip(found, expected, strict=True):
        assert one is other is None or one == pytest.approx(other)


def test_views_are_committed_counted_replaced_and_joined_by_item(items, tmp_path):
    ledger, listing = ledger_of(tmp_path, views=2), items(["a", "b", "c"])

    def sink() -> Sink:
        return Sink(ledger, lambda rows: embedding_rows(rows, schema=ledger.schema, views=2), "rewrites")

    sink().commit(Unit("run", 0, (3,)), pipeline_rows(listing, 2, failed=(1,)))
    assert ledger.count("run-000000.parquet") == 9

    planner = Planner(ledger, [])
    plan = planner.write("later", listing.to_reader(), "images", 4, 2)
    assert (planner.counts.listed, planner.counts.done, planner.counts.retried, plan.items) == (3, 2, 1, 1)

    again = pipeline_rows(listing.slice(1, 1), 2).drop_columns(["rewrites"])
    again = again.append_column("rewrites", pa.array(["run-000000.parquet"]))
    for _ in range(2):  # a unit may be done twice
        sink().commit(Unit("later", 0, (1,)), again)
        rows = ledger.dataset().to_table().to_pylist()
        assert [(row["item_id"][-1], row["view"]) for row in rows] == [(n, v) for n in "abc" for v in range(3)]
        assert [row["embedding"][0] for row in rows[3:6]] == pytest.approx([0, 0.1, 0.2])
        assert ledger.files() == ["run-000000.parquet"]
    assert Planner(ledger, []).write("last", listing.to_reader(), "images", 4, 2).items == 0


TEXT = {"template": "{caption}", "tower_sha256": "t", "dim": 9}


@pytest.mark.parametrize(
    ("made", "wanted", "says"),
    [
        ({"views": 2}, {"views": 1}, "was made with --views 2: give the same"),
        ({"views": 2}, {}, "was made with --views 2"),
        ({}, {"views": 1}, "was made with --views 0"),
        ({"views": 1, "conditions": ["blur-1"]}, {"views": 1, "conditions": ["blur-2"]}, "holds other conditions"),
        ({"views": 1, "conditions": ["blur-1"]}, {"views": 1}, "holds other conditions"),
        ({"text": TEXT}, {}, "was made with --text '{caption}': give the same"),
        ({}, {"text": TEXT}, "was made without --text"),
        ({"text": TEXT}, {"text": {**TEXT, "template": "{category}"}}, "with --text '{caption}': give"),
        ({"text": TEXT}, {"text": {**TEXT, "tower_sha256": "u"}}, "and another text tower"),
    ],
)
def test_one_folder_holds_what_was_made_in_one_way(items, tmp_path, made, wanted, says):
    there = ledger_of(tmp_path, **made)
    there.commit("a.parquet", embedding_rows(pipeline_rows(items(["a"]), 0), schema=there.schema))
    there.check()
    with pytest.raises(UsageError, match=says.replace("{", r"\{")) as caught:
        ledger_of(tmp_path, **wanted).check()
    assert "\n" not in str(caught.value)


def test_a_folder_from_before_there_were_views_goes_on(items, tmp_path):
    old = ledger_of(tmp_path)
    old.commit("a.parquet", embedding_rows(pipeline_rows(items(["a"]), 0), schema=old.schema))
    ledger_of(tmp_path, views=0).check()


# --- with Ray

WHAT = EmbedOptions(feature="blocks:2,4", text="a photo of {caption}", views=2)
CAPTIONS = ["a cat", "two dogs", "", "rain on a window", "a house", "a rainy afternoon", "", "a tree", "a red car"]


@pytest.fixture
def corpus(pictures: Path, tmp_path: Path) -> Path:
    """Nine pictures and a text file named by a CSV with captions, two of them empty."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    names = [f"{i:02d}.jpg" for i in range(len(CAPTIONS))]
    for name in names:
        (folder / name).write_bytes((pictures / name).read_bytes())
    (folder / "words.jpg").write_bytes(b"only words")
    rows = [*zip(names, CAPTIONS, strict=True), ("words.jpg", "a page")]
    (folder / "list.csv").write_text("path,caption,label,generator\n" + "".join(f"{n},{c},1,lama\n" for n, c in rows))
    return folder


@pytest.fixture
def manifest(corpus: Path, tmp_path: Path) -> Path:
    write_manifest(f"file://{corpus}/list.csv", "csv", LayoutOptions(), Store(f"file://{tmp_path}/manifest"))
    return tmp_path / "manifest"


def run_embed(source: Path, out: Path, what: EmbedOptions = WHAT, **options) -> Outcome:
    return embed(str(source), ENCODER, str(out), ScanOptions(**options), lambda n: lambda k: None, what)


class EmbedRun(Run):
    def start(self) -> subprocess.Popen:
        arguments = ["embed", self.corpus, "--encoder", ENCODER, "--out", self.store.uri, "--unit-rows", "2"]
        what = ["--feature", WHAT.feature, "--text", str(WHAT.text), "--views", str(WHAT.views)]
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, "WHOLE", *arguments, *what, "--max-error-rate", "1"],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def expected_vectors(path: Path, caption: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Blocks 2 and 4 of views 0, 1, 2 and the text, by open_clip, its transform, hooks, and the chains of augment."""
    import open_clip
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model, _, transform = open_clip.create_model_and_transforms("ViT-S-32-alt")
        model.eval()
        seen: dict[int, torch.Tensor] = {}
        for number in (2, 4):
            block = model.visual.transformer.resblocks[number - 1]
            block.register_forward_hook(lambda *a, number=number: seen.update({number: a[2][:, 0]}))
        vectors = []
        for view in range(3):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            image = Image.open(path).convert("RGB")
            for step in chain(content, view) if view else ():
                image = step(image)
            model.encode_image(transform(image)[None])
            both = torch.cat([torch.nn.functional.normalize(seen[number], dim=-1) for number in (2, 4)], dim=-1)
            vectors.append(torch.nn.functional.normalize(both, dim=-1)[0].numpy())
        text = model.encode_text(open_clip.get_tokenizer("ViT-S-32-alt")([caption]), normalize=True)[0].numpy()
    return vectors, text


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_views_and_texts_survive_a_kill_and_are_open_clips(warm_ray, corpus, manifest, tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    hidden = (corpus / "05.jpg").rename(tmp_path / "hidden.jpg")
    out = tmp_path / "emb"
    run = EmbedRun(str(manifest), tmp_path, Store(f"file://{out}"), unit_rows=2)
    assert run.killed(Kill(1))
    assert {pq.read_metadata(out / name).num_rows for name in run.visible()} == {6}
    assert len(run.visible()) < 5

    run.quietly()
    rows = run.read()
    keys = list(zip(rows["item_id"].to_pylist(), rows["view"].to_pylist(), strict=True))
    assert len(keys) == len(set(keys)) == 30
    assert sorted(rows["status"].to_pylist()) == ["missing"] * 3 + ["ok"] * 24 + ["unsupported"] * 3

    hidden.rename(corpus / "05.jpg")
    monkeypatch.setattr(executor, "at_hand", lambda: False)  # what is one more item needs no actors
    again = run_embed(manifest, out)
    assert (again.counts.retried, again.totals.rows) == (1, 1)
    assert run_embed(manifest, out).totals.rows == 0

    rows = {(Path(r["uri"]).name, r["view"]): r for r in run.read().to_pylist()}
    assert len(rows) == run.read().num_rows == 30
    for i in (0, 2, 5):
        vectors, text = expected_vectors(corpus / f"{i:02d}.jpg", f"a photo of {CAPTIONS[i]}")
        for view in range(3):
            row = rows[f"{i:02d}.jpg", view]
            np.testing.assert_allclose(row["embedding"], vectors[view], rtol=0, atol=1e-5)
            if CAPTIONS[i]:
                np.testing.assert_allclose(row["text_embedding"], text, rtol=0, atol=1e-5)
            else:
                assert row["text_embedding"] is None
        assert np.abs(np.subtract(vectors[0], vectors[1])).max() > 1e-4  # random weights see little
    assert rows["words.jpg", 2]["embedding"] is rows["words.jpg", 2]["text_embedding"] is None

    facts = read_footer(pq.read_schema(next(out.glob("*.parquet"))).metadata)
    assert facts["views"] == "2"
    assert EncoderDescription.from_json(facts["encoder_description"]).feature == "blocks:2,4"
    with pytest.raises(UsageError, match="--views 2"):
        run_embed(manifest, out, replace(WHAT, views=1))


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
def test_a_text_that_gives_the_label_away_is_refused_before_anything_is_written(
    in_process, corpus, manifest, tmp_path, listed
):
    source = manifest if listed else corpus / "list.csv"
    table = (corpus / "list.csv").read_text()
    (corpus / "list.csv").write_text(table.replace("a red car", "a red car by Lama"))
    write_manifest(f"file://{corpus}/list.csv", "csv", LayoutOptions(), Store(f"file://{manifest}"))
    with pytest.raises(UsageError, match=r"the caption of .*08\.jpg has 'lama'.*--allow-word 'lama'") as caught:
        run_embed(source, tmp_path / "out", layout="images" if listed else "csv")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_score_takes_the_feature_from_the_detector(in_process, corpus, detector, tmp_path):
    from clipfake.detector.bundle import Detector
    from clipfake.detector.heads.linear_projection import init_head
    from clipfake.detector.unfamiliarity import fit_reference
    from clipfake.encoder import describe, load

    encoder = load(describe(ENCODER, "penultimate"))
    (corpus / "words.jpg").unlink()
    (corpus / "list.csv").unlink()
    run_embed(corpus, tmp_path / "emb", EmbedOptions(feature="penultimate"))
    stored = ds.dataset(str(tmp_path / "emb")).to_table().sort_by("item_id")
    vectors = np.array(stored["embedding"].to_pylist(), np.float32)
    bundle = replace(
        Detector.load(Store(f"file://{detector}")),
        encoder=encoder.description.to_dict(),
        encoder_fingerprint=encoder.description.fingerprint,
        head=init_head(384, sample=vectors).eval().requires_grad_(False),
        test_card=encoder.test_card_embedding(),
        reference=fit_reference(vectors, np.arange(len(vectors)) % 2, [None] * len(vectors), vectors),
    )
    bundle.save(Store(f"file://{tmp_path}/detector"))
    score(str(corpus), str(tmp_path / "detector"), str(tmp_path / "out"), ScanOptions(), lambda n: lambda k: None)
    found = ds.dataset(str(tmp_path / "out")).to_table().sort_by("item_id")["decision"].to_numpy()
    np.testing.assert_allclose(found, bundle.score(vectors).decision, atol=1e-4, rtol=0)
