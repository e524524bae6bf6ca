from pathlib import Path

import pytest

from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris

Row = tuple[int | None, str | None, str | None, str | None]


def listed(root: Path, corpus: str, layout: str, **options: tuple[str, ...]) -> tuple[dict[str, Row], dict[str, int]]:
    tally, start = Tally(), len(uris.from_path(root)) + 1
    found = LAYOUTS[layout].items(uris.from_path(root / corpus), LayoutOptions(**options), tally)  # type: ignore[arg-type]
    rows = {item.uri[start:]: (item.label, item.generator, item.category, item.split) for item in found}
    return rows, dict(tally.skipped)


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")


FORENSYNTHS: dict[str, Row] = {
    "cnn/train/airplane/0_real/1.png": (0, "progan", "airplane", "train"),
    "cnn/train/airplane/1_fake/1.png": (1, "progan", "airplane", "train"),
    "cnn/val/progan/cat/1_fake/1.png": (1, "progan", "cat", "val"),
    "cnn/test/biggan/0_real/a.b.png": (0, "biggan", None, "test"),
    "cnn/test/progan/cat/1_fake/1.png": (1, "progan", "cat", "test"),
}


@pytest.mark.parametrize("corpus", ["cnn", "cnn/train", "cnn/test", "cnn/test/progan", "cnn/test/biggan"])
def test_forensynths(corpus: str, tmp_path: Path) -> None:
    make(tmp_path, *FORENSYNTHS)
    expected = {path: row for path, row in FORENSYNTHS.items() if path.startswith(f"{corpus}/")}
    if corpus.count("/") == 2:  # the corpus is one test set: its split is not to be seen
        expected = {path: (*row[:3], None) for path, row in expected.items()}
    assert listed(tmp_path, corpus, "forensynths") == (expected, {})


def test_forensynths_without_splits(tmp_path: Path) -> None:
    make(tmp_path, "CNN_synth/crn/1_fake/1.png", "CNN_synth/cyclegan/horse/0_real/1.png", "CNN_synth/read.me")
    rows, skipped = listed(tmp_path, "CNN_synth", "forensynths")
    assert list(rows.values()) == [(1, "crn", None, None), (0, "cyclegan", "horse", None)]
    assert skipped == {"file outside the layout's folders": 1}


def test_genimage(tmp_path: Path) -> None:
    make(
        tmp_path,
        "gi/Midjourney/imagenet_midjourney/train/ai/1.png",
        "gi/BigGAN/imagenet_ai_0419_biggan/val/nature/1.JPEG",
        "gi/sd/imagenet_ai_0508_adm/val/ai/1.PNG",
        "gi/sd/imagenet_ai_0508_adm/val/realistic/1.PNG",
    )
    rows, skipped = listed(tmp_path, "gi", "genimage")
    assert list(rows.values()) == [
        (0, "biggan", None, "val"),
        (1, "midjourney", None, "train"),
        (1, "adm", None, "val"),
    ]
    assert skipped == {"file outside the layout's folders": 1}
    assert len(listed(tmp_path, "gi/Midjourney/imagenet_midjourney", "genimage")[0]) == 1


def test_unifd_diffusion(tmp_path: Path) -> None:
    make(tmp_path, "d/laion/0_real/1.jpg", "d/imagenet/0_real/n01/1.jpg", "d/ldm_200_cfg/1_fake/1.png")
    make(tmp_path, "d/laion/1_fake/1.jpg", "d/unknown/1_fake/1.jpg")
    rows, skipped = listed(tmp_path, "d", "unifd-diffusion")
    assert rows == {
        "d/imagenet/0_real/n01/1.jpg": (0, "imagenet", None, None),
        "d/laion/0_real/1.jpg": (0, "laion", None, None),
        "d/ldm_200_cfg/1_fake/1.png": (1, "ldm_200_cfg", None, None),
    }
    assert skipped == {"file outside the layout's folders": 2}
    assert len(listed(tmp_path, "d/ldm_200_cfg", "unifd-diffusion")[0]) == 1


def test_cifake(tmp_path: Path) -> None:
    make(tmp_path, "c/train/REAL/1.jpg", "c/test/FAKE/1 (2).jpg", "c/test/fake/1.jpg")
    rows, skipped = listed(tmp_path, "c", "cifake")
    assert rows == {
        "c/test/FAKE/1%20%282%29.jpg": (1, "stable_diffusion_1_4", None, "test"),
        "c/train/REAL/1.jpg": (0, "stable_diffusion_1_4", None, "train"),
    }
    assert skipped == {"file outside the layout's folders": 1}


def test_folders(tmp_path: Path) -> None:
    make(
        tmp_path, "r/sdxl/fake/a/1.png", "r/sdxl/nature/1.png", "r/realistic_vision/1.png", "r/photos/1.png", "r/1.png"
    )
    rows, skipped = listed(tmp_path, "r", "folders", real=("nature", "photos"), fake=("*/fake", "realistic*"))
    assert rows == {
        "r/photos/1.png": (0, "photos", None, None),
        "r/realistic_vision/1.png": (1, "realistic_vision", None, None),
        "r/sdxl/fake/a/1.png": (1, "sdxl", None, None),
        "r/sdxl/nature/1.png": (0, "sdxl", None, None),
    }
    assert skipped == {"file outside the layout's folders": 1}


def test_folders_the_innermost_decides_and_both_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "r/real/fake/1.png")
    rows, _ = listed(tmp_path, "r", "folders", real=("real",), fake=("fake",))
    assert [row[0] for row in rows.values()] == [1]
    with pytest.raises(UsageError, match="matches both"):
        listed(tmp_path, "r", "folders", real=("real", "fake"), fake=("f*",))
    with pytest.raises(UsageError, match="at least one --real"):
        listed(tmp_path, "r", "folders", fake=("f*",))
