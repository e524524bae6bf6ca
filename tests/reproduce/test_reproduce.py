"""The nine experiments: their tables can be computed again from what is stored, and what is there is not done again."""

import contextlib
import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import train_test_split

from clipfake.corpus.manifest import read_manifest
from clipfake.detector.text_input import TextInput
from clipfake.encoder import describe
from clipfake.errors import NoTextTowerError, UsageError
from clipfake.reproduce import reproduce as module
from clipfake.reproduce.page import FIGURES
from clipfake.reproduce.reproduce import ReproduceOptions, reproduce
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.training.head import fit_head

pytestmark = pytest.mark.slow

ENCODER = "ViT-S-32-alt/untrained"
CATEGORIES = ("map", "horse", "facade")
SIZES = {"cycle_gan": 180, "pix2pix": 120}
OPTIONS = ReproduceOptions(sets=("cycle_gan", "pix2pix"))
NAMES = [f"{variant}-{data}" for variant in ("image", "sum", "product") for data in (*SIZES, "both")]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    """ArtiFact's layout with two folders, one of them a level down as in a mirror. No image is read here."""
    root = tmp_path_factory.mktemp("artifact")
    for folder, (name, rows) in zip((root / "cycle_gan", root / "Fake" / "pix2pix"), SIZES.items(), strict=True):
        folder.mkdir(parents=True)
        lines = ["filename,image_path,target,category"]
        lines += [
            f"{i:03}.jpg,{name[:2]}/{i:03}.jpg,{6 * (i % 2)},{('map', 'horse', 'facade')[i % 3]}" for i in range(rows)
        ]
        (folder / "metadata.csv").write_text("\n".join(lines))
    return root


def write_embeddings(manifest: str, embeddings: str, *, text: bool) -> None:
    """What `embed` leaves: fakes are shifted a little; the text is that of the category, whatever the label."""
    description, name = describe(ENCODER), manifest.rpartition("/")[2]
    rows = read_manifest(manifest).to_table()
    random = np.random.default_rng(len(name))
    x = random.normal(size=(rows.num_rows, description.dim)).astype(np.float32)
    x[:, :12] += np.asarray(rows["label"])[:, None]
    captions = {word: random.normal(size=16).astype(np.float32) for word in CATEGORIES}
    schema = embedding_schema(description.dim, "fp32")
    columns = {**rows.to_pydict(), "view": [0] * len(x), "status": ["ok"] * len(x), "embedding": list(x)}
    columns["content_sha256"] = [f"{name}{i}" for i in range(len(x))]
    facts = {"encoder": description.fingerprint, "encoder_description": description.to_dict(), "precision": "fp32"}
    if text:
        schema = schema.append(pa.field("text_embedding", pa.list_(pa.float32(), 16)))
        columns["text_embedding"] = [captions[word] for word in columns["category"]]
        facts["text"] = asdict(TextInput(OPTIONS.text, "t" * 64, 16))
    table = pa.table([pa.array(columns.get(f.name, [None] * len(x)), f.type) for f in schema], schema=schema)
    ledger = Ledger(Store(embeddings), "embeddings", schema, description.fingerprint, footer("embeddings", facts))
    ledger.commit(f"{name}.parquet", table)


@contextlib.contextmanager
def without_ray(*, text: bool, trainings: list[str]):
    """Embeddings from `write_embeddings`, and heads trained in this process: both are tested elsewhere on Ray."""

    def train_head(train, val, options, workers, storage):
        trainings.append(options.fusion)
        return fit_head(train, val, options)

    def embed(manifest, encoder, embeddings, options, progress):
        write_embeddings(manifest, embeddings, text=text)

    with pytest.MonkeyPatch.context() as patch:
        for place in ("clipfake.training.train.connected", "clipfake.reproduce.reproduce.connected"):
            patch.setattr(place, lambda cpus: contextlib.nullcontext())
        patch.setattr(
            module, "_embed", lambda manifest, _, embeddings, *rest: write_embeddings(manifest, embeddings, text=text)
        )
        patch.setattr("clipfake.training.train.train_head", train_head)
        yield
    torch.use_deterministic_algorithms(False)


def run(artifact, out, options=OPTIONS, *, text=True):
    trainings, said = [], []
    with without_ray(text=text, trainings=trainings):
        found = reproduce(str(artifact), str(out), ENCODER, options, lambda n: lambda k: None, said.append)
    return found, trainings, said


@pytest.fixture(scope="module")
def done(artifact, tmp_path_factory):
    out = tmp_path_factory.mktemp("reproduced") / "out"
    found, trainings, said = run(artifact, out)
    assert len(trainings) == 9
    return out, found, said


def test_the_tables_are_those_of_the_stored_embeddings_and_splits(done):
    """With numpy and scikit-learn alone: head, fusion, SVM, metrics."""
    out, found, _ = done
    assert [one["name"] for one in found] == NAMES
    stored = ds.dataset(str(out / "embeddings")).to_table().sort_by("item_id").to_pydict()
    items = {item: i for i, item in enumerate(stored["item_id"])}
    image, text = (np.asarray(stored[name], np.float64) for name in ("embedding", "text_embedding"))
    label = np.asarray(stored["label"])
    lines = list(csv.DictReader((out / "tables.csv").open()))
    for name in NAMES:
        split = pq.read_table(out / name / "split.parquet").to_pydict()
        rows = np.array([items[item] for item in split["item_id"]])
        arrays = {
            k: a.astype(np.float64) for k, a in load_file(out / name / "detector" / "detector.safetensors").items()
        }
        described = json.loads((out / name / "detector" / "detector.json").read_text())

        def project(x, prefix, arrays=arrays):
            z = (x - arrays[f"{prefix}centre"]) / arrays[f"{prefix}scale"]
            z = z @ arrays[f"{prefix}linear.weight"].T + arrays[f"{prefix}linear.bias"]
            return z / np.linalg.norm(z, axis=1, keepdims=True)

        if name.startswith("image"):
            v = project(image[rows], "head.")
        else:
            one, two = project(image[rows], "head.image."), project(text[rows], "head.text.")
            v = one + two if name.startswith("sum") else one * two
            v /= np.linalg.norm(v, axis=1, keepdims=True)
        squared = ((v[:, None] - arrays["classifier.support_vectors"][None]) ** 2).sum(axis=2)
        decision = (
            np.exp(-described["classifier"]["gamma"] * squared) @ arrays["classifier.dual_coef"]
            + described["classifier"]["intercept"]
        )
        np.testing.assert_allclose(split["decision"], decision, atol=1e-4)
        part = np.asarray(split["part"])
        for which in ("train", "val", "test"):
            y, called = label[rows][part == which], decision[part == which] > 0
            table = {
                line["measure"]: float(line["value"])
                for line in lines
                if (line["experiment"], line["part"]) == (name, which)
            }
            assert table["accuracy"] == pytest.approx(accuracy_score(y, called))
            each = precision_recall_fscore_support(y, called)
            mean = precision_recall_fscore_support(y, called, average="macro")
            for i, measure in enumerate(("precision", "recall", "F1")):
                assert table[f"{measure} real"] == pytest.approx(each[i][0])
                assert table[f"{measure} fake"] == pytest.approx(each[i][1])
                assert table[f"{measure} macro"] == pytest.approx(mean[i])
            (one,) = [one for one in found if one["name"] == name]
            assert list(one["confusion"][which].values()) == confusion_matrix(y, called).ravel().tolist()
            assert one["sizes"][which] == len(y)
        spread = np.linalg.eigvalsh(np.cov(v[part == ("test" if name.startswith("image") else "train")].T))[::-1]
        assert one["first_component"] == pytest.approx(spread[0] / spread.sum(), abs=1e-4)
        assert one["components"] == int((np.cumsum(spread) / spread.sum() < 0.995).sum()) + 1


def test_both_is_split_as_a_whole_and_text_moves_a_row(done):
    out, found, _ = done
    for one in found:
        total = {"CycleGAN": 180, "ProGAN": 120, "both": 300}[one["slot"]]
        rows = np.arange(total)
        train, rest = train_test_split(rows, test_size=0.3)
        val, test = train_test_split(rest, test_size=0.2 / 0.3 if one["variant"] == "image" else 2 / 3)
        assert list(one["sizes"].values()) == [len(train), len(val), len(test)]
    single, both = (pq.read_table(out / name / "split.parquet") for name in ("image-cycle_gan", "image-both"))
    parts = dict(zip(both["item_id"].to_pylist(), both["part"].to_pylist(), strict=True))
    ours = dict(zip(single["item_id"].to_pylist(), single["part"].to_pylist(), strict=True))
    assert any(parts[item] != part for item, part in ours.items())


def test_every_figure_is_there_and_on_the_page(done):
    out, _, _ = done
    text = (out / "README.md").read_text()
    for name in ("overview.png", *(f"{name}/{figure}.png" for name in NAMES for figure in FIGURES)):
        assert f"({name})" in text
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 50  # more than a frame


def test_the_page_says_what_the_figures_are_not(done):
    out, found, said = done
    text = (out / "README.md").read_text()
    for must in ("UNTRAINED", "not the source's data", "inferred", "stratified by label only", "what text it used"):
        assert must in text, must
    assert any("inferred" in line for line in said)
    worse = [one for one in found if one["tables"]["test"]["accuracy"]["value"] < one["baseline"]]
    assert text.count("The head is worse") == len(worse)
    assert "91.85†" in text  # the source's, beside ours
    alone = [one["text_alone"] for one in found]
    assert alone[:3] == [None] * 3
    assert all(0.2 < value < 0.8 for value in alone[3:])  # the text here says nothing of the label


def test_what_is_there_is_not_done_again(done, artifact):
    out, found, _ = done
    (out / "sum-both" / "experiment.json").unlink()
    (out / "product-both" / "detector" / "detector.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*.png")}
    again, trainings, _ = run(artifact, out)
    assert trainings == ["product"]
    assert again == found
    written = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert written == {"sum-both"}  # the product's detector came out the same, so its figures stand


def test_without_text_the_three_on_images_are_run_and_it_says_why(artifact, tmp_path):
    found, _, said = run(artifact, tmp_path / "out", text=False)
    assert [one["name"] for one in found] == NAMES[:3]
    assert any("no text" in line for line in said)
    assert "were not run" in (tmp_path / "out" / "README.md").read_text()


def test_an_encoder_without_a_text_tower_embeds_images_only(monkeypatch):
    asked = []

    def embed(manifest, encoder, out, scan, progress, what):
        asked.append(what.text)
        if what.text is not None:
            raise NoTextTowerError("no text tower")

    monkeypatch.setattr(module, "embed", embed)
    module._embed("manifest", ENCODER, "embeddings", OPTIONS, lambda n: lambda k: None)
    assert asked == [OPTIONS.text, None]


def test_other_options_other_folders_and_other_text_are_refused(done, artifact, tmp_path):
    out, _, _ = done
    with pytest.raises(UsageError, match="other options"):
        run(artifact, out, ReproduceOptions(sets=OPTIONS.sets, seed=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        run(artifact, tmp_path / "mine")
    with pytest.raises(UsageError, match="pro_gan"):
        run(artifact, tmp_path / "new", ReproduceOptions())
    with pytest.raises(UsageError, match="give it as --text"):
        run(artifact, tmp_path / "other", ReproduceOptions(sets=OPTIONS.sets, text="{caption}"))
    for sets in (("cycle_gan",), ("cycle_gan", "cycle_gan"), ("cycle_gan", "both")):
        with pytest.raises(UsageError, match="--sets"):
            ReproduceOptions(sets=sets)
    assert not (tmp_path / "new").exists()
