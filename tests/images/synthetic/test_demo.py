"""The demo's corpus: fair pairs, whole scenes, one generator held out, and the same bytes for the same seed."""

import csv
import io
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.images.synthetic.decoders import CONVOLUTIONAL, PATCH
from clipfake.images.synthetic.demo import BROKEN, GROUP_BY, DemoCorpus, DemoOptions, make_demo_corpus
from clipfake.images.synthetic.scenes import photograph_scenes

pytestmark = pytest.mark.slow  # trains four decoders

QUICK = DemoOptions(crops=1, steps=60)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    return make_demo_corpus(tmp_path_factory.mktemp("demo") / "out", QUICK)


def labelled(folder: Path) -> list[tuple[Path, int]]:
    """(file, target) of each row of a metadata.csv."""
    with (folder / "metadata.csv").open(newline="") as file:
        return [(folder / row["image_path"], int(row["target"])) for row in csv.DictReader(file)]


def everything(corpus: DemoCorpus) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Files, labels and scenes of all labelled folders."""
    folders = [*sorted(corpus.train.iterdir()), *corpus.held_out.iterdir()]
    rows = [row for folder in folders for row in labelled(folder)]
    files = [file for file, _ in rows]
    return files, np.array([target != 0 for _, target in rows]), np.array([scene(file) for file in files])


def scene(path: Path) -> str:
    found = re.search(GROUP_BY, str(path))
    assert found
    return found[1]


def truth(corpus: DemoCorpus) -> list[dict[str, str]]:
    with corpus.crawl_truth.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image, dtype=float)


def thumbnail(file: Path) -> np.ndarray:
    return pixels(file).reshape(8, 25, 8, 25, 3).mean((1, 3))


def auc_by_scene(features: np.ndarray, fake: np.ndarray, scenes: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    decisions = cross_val_predict(model, features, fake, groups=scenes, cv=GroupKFold(5), method="decision_function")
    return float(roc_auc_score(fake, decisions))


def test_one_generator_is_in_no_training_folder(corpus: DemoCorpus) -> None:
    assert sorted(folder.name for folder in corpus.train.iterdir()) == sorted(CONVOLUTIONAL)
    assert [folder.name for folder in corpus.held_out.iterdir()] == [PATCH]


def test_no_file_name_tells_its_label(corpus):
    for folder in [*sorted(corpus.train.iterdir()), *corpus.held_out.iterdir()]:
        rows = labelled(folder)
        assert all(re.fullmatch(r"\d{4}\.jpg", file.name) for file, _ in rows)
        numbers = np.array([int(file.stem) for file, _ in rows])
        fake = np.array([target != 0 for _, target in rows])
        assert sorted(numbers) == list(range(len(rows)))
        for told in (numbers, numbers % 2):
            assert 0.35 < roc_auc_score(fake, told) < 0.65


def test_the_layouts_read_what_is_written(corpus: DemoCorpus) -> None:
    """The production listing sees every labelled picture, half of them fake, and every file of the crawl."""
    options = LayoutOptions()
    for place, count in ((corpus.train, 80 * 3 * 2), (corpus.held_out, 14 * 2 * 2)):
        items = list(LAYOUTS["artifact"].items(place.as_uri(), options, Tally()))
        assert len(items) == count
        assert sum(item.label or 0 for item in items) == count / 2
    assert len(list(LAYOUTS["images"].items(corpus.crawl.as_uri(), options, Tally()))) == 14 * 4 * 2 + len(BROKEN)
    items = list(LAYOUTS["csv"].items(corpus.crawl_truth.as_uri(), options, Tally()))
    assert len(items) == 14 * 4 * 2
    assert {item.generator for item in items} == {*CONVOLUTIONAL, PATCH}


def test_no_scene_is_in_two_parts(corpus: DemoCorpus) -> None:
    parts = [
        {scene(path) for path in corpus.train.rglob("*.jpg")},
        {scene(path) for path in corpus.held_out.rglob("*.jpg")},
        {row["group_id"] for row in truth(corpus)},
    ]
    assert [len(part) for part in parts] == [80, 14, 14]
    assert all(not one & other for one, other in combinations(parts, 2))


def test_the_demo_judges_on_reserved_scenes(corpus):
    judged = {scene(path) for path in corpus.held_out.rglob("*.jpg")} | {row["group_id"] for row in truth(corpus)}
    assert judged <= {one.name for one in photograph_scenes() if one.reserved}


def test_a_pair_shares_content_size_and_compression(corpus: DemoCorpus) -> None:
    for folder in (*corpus.train.iterdir(), *corpus.held_out.iterdir()):
        rows = labelled(folder)
        for (real, zero), (fake, target) in zip(rows[::2], rows[1::2], strict=True):
            assert zero == 0 < target
            assert real.parent == fake.parent
            with Image.open(real) as one, Image.open(fake) as other:
                assert one.format == other.format == "JPEG"
                assert one.size == other.size == (200, 200)
                assert one.quantization == other.quantization
                assert one.info == other.info
            assert real.read_bytes() != fake.read_bytes()
            assert np.abs(thumbnail(real) - thumbnail(fake)).mean() < 25  # grey levels; another picture differs by 90
    assert len({target for folder in corpus.train.iterdir() for _, target in labelled(folder)}) == 1 + len(
        CONVOLUTIONAL
    )


def test_file_size_and_colour_do_not_tell_the_classes_apart(corpus: DemoCorpus) -> None:
    files, fake, scenes = everything(corpus)
    sizes = np.array([file.stat().st_size for file in files])
    assert 0.4 < roc_auc_score(fake, sizes) < 0.6
    assert 0.9 < np.median(sizes[fake] / sizes[~fake]) < 1.1  # file by file: each fake stands behind its photograph
    colours = np.array([pixels(file).mean((0, 1)) for file in files])
    assert 0.45 < auc_by_scene(colours, fake, scenes) < 0.55


def test_the_decoders_traces_do(corpus: DemoCorpus) -> None:
    """The task can be solved from what the decoders leave in the pictures: their spectrum tells, on scenes not seen."""
    files, fake, scenes = everything(corpus)
    window = np.outer(np.hanning(200), np.hanning(200))
    spectra = []
    for file in files:
        grey = pixels(file).mean(2)
        power = np.log1p(np.abs(np.fft.rfft2((grey - grey.mean()) * window)[:100, :100]) ** 2)
        spectra.append(power.reshape(20, 5, 20, 5).mean((1, 3)).ravel())
    assert auc_by_scene(np.array(spectra), fake, scenes) > 0.85


def test_the_broken_files_are_broken(corpus: DemoCorpus) -> None:
    data = {name: (corpus.crawl / name).read_bytes() for name in BROKEN}
    assert data["empty.jpg"] == b""
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(data["text.jpg"]))
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(data["truncated.jpg"])).load()


def test_the_names_in_the_crawl_say_nothing(corpus: DemoCorpus) -> None:
    rows = truth(corpus)
    assert {row["path"] for row in rows} | {f"crawl/{name}" for name in BROKEN} == {
        f"crawl/{file.name}" for file in corpus.crawl.iterdir()
    }
    assert all(re.fullmatch(r"crawl/\d{5}\.jpg", row["path"]) for row in rows)
    numbers = [int(Path(row["path"]).stem) for row in rows]
    assert 0.35 < roc_auc_score([int(row["label"]) for row in rows], numbers) < 0.65


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    """Whatever the state of the global generators and the number of threads, which are left as they were."""

    def made(name: str, seed: int) -> dict[str, bytes]:
        make_demo_corpus(tmp_path / name, DemoOptions(crops=1, steps=2, seed=seed))
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    first = made("first", 0)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        assert made("second", 0) == first
        assert torch.get_num_threads() == threads + 1
        assert torch.equal(torch.random.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
    assert made("third", 1) != first


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="new or empty folder"):
        make_demo_corpus(tmp_path)
    with pytest.raises(UsageError, match="new or empty folder"):
        make_demo_corpus(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("options", [{"crops": 0}, {"steps": 0}, {"seed": -1}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least"):
        DemoOptions(**options)
